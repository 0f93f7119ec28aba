#include "runtime/warden/inbound_datagrams.h"

#include <sys/socket.h>

#include <utility>

namespace sallyport::runtime {
namespace {

using guest::FrameType;

// As for the guest's own UDP flows.
constexpr auto kIdle = std::chrono::seconds(60);

}  // namespace

InboundDatagrams::InboundDatagrams(const Services& services, Facts facts, int socket,
                                   std::function<void()> on_over)
    : Inbound(services, std::move(facts)),
      socket_(socket),
      on_over_(std::move(on_over)),
      last_(services.loop.now()) {}

InboundDatagrams::~InboundDatagrams() {
  Tell(Reason::kAllowed, "the sandbox ended");
}

void InboundDatagrams::Start() {
  Dial();
  AwaitSilence(kIdle);
}

void InboundDatagrams::OnClient(std::string_view payload) {
  last_ = services_.loop.now();
  if (services_.agent.full()) return;
  down_ += payload.size();
  services_.agent.Send(FrameType::kDatagram, facts_.stream, payload);
}

Status InboundDatagrams::OnFrame(const guest::Frame& frame) {
  if (over_) return {};
  switch (frame.type) {
    case FrameType::kStarted:
      return {};
    case FrameType::kDatagram:
      return OnServer(frame.payload);
    case FrameType::kError:
      End(Reason::kUpstreamRefused,
          "nothing in the sandbox takes datagrams at port " + std::to_string(facts_.port.guest));
      return {};
    default:
      return Fail(Code::kInvalid, "a frame that has no place on a stream of datagrams");
  }
}

Status InboundDatagrams::OnServer(std::string_view payload) {
  if (payload.size() > guest::kMaxDatagram) return Fail(Code::kInvalid, "too large a datagram");
  state_ = State::kOpen;  // The first answer is the first sign of a server.
  last_ = services_.loop.now();
  sockaddr_storage to;
  const socklen_t size = facts_.client.ToSockaddr(to);
  const auto* where = reinterpret_cast<const sockaddr*>(&to);
  const ssize_t sent =
      sendto(socket_, payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL, where, size);
  if (sent >= 0) up_ += payload.size();
  return {};
}

void InboundDatagrams::AwaitSilence(Clock::duration time) {
  silence_ = services_.loop.After(time, [this] { OnTime(); });
}

void InboundDatagrams::OnTime() {
  const auto silent = services_.loop.now() - last_;
  if (silent < kIdle) return AwaitSilence(kIdle - silent);
  SendError();
  End(Reason::kAllowed, "");
}

void InboundDatagrams::Cut(std::string why) {
  if (over_) return;
  SendError();
  End(Reason::kAllowed, std::move(why));
}

void InboundDatagrams::End(Reason reason, std::string detail) {
  silence_ = {};
  Tell(reason, std::move(detail));
  on_over_();
}

}  // namespace sallyport::runtime
