#include "runtime/warden/inbound_stream.h"

#include <utility>

namespace sallyport::runtime {
namespace {

using guest::FrameType;
using guest::SocketRelay;

// Longer than the agent takes to try: only one that does not answer at all is given up here.
constexpr auto kDialDeadline = std::chrono::seconds(15);

}  // namespace

InboundStream::InboundStream(const Services& services, Facts facts, UniqueFd socket,
                             std::function<void()> on_over)
    : Inbound(services, std::move(facts)),
      socket_(std::move(socket)),
      on_over_(std::move(on_over)) {}

InboundStream::~InboundStream() {
  if (socket_.valid()) guest::ResetSocket(std::move(socket_));
  Tell(Reason::kAllowed, "the sandbox ended");
}

void InboundStream::Start() {
  Dial();
  deadline_ = services_.loop.After(kDialDeadline, [this] {
    SendError();
    Refuse(Reason::kUpstreamTimeout, "the sandbox did not answer");
  });
}

Status InboundStream::OnFrame(const guest::Frame& frame) {
  if (over_) return {};
  if (relay_) return relay_->OnFrame(frame);
  if (frame.type == FrameType::kStarted) return OnStarted();
  if (frame.type != FrameType::kError) return Fail(Code::kInvalid, "data before an answer");
  Refuse(Reason::kUpstreamRefused,
         "nothing in the sandbox accepts connections at port " + std::to_string(facts_.port.guest));
  return {};
}

Status InboundStream::OnStarted() {
  deadline_ = {};
  auto relay = SocketRelay::Start(services_.loop, std::move(socket_), *this);
  if (!relay) {
    SendError();
    Refuse(Reason::kLimit, relay.error().message());
    return {};
  }
  relay_ = *std::move(relay);
  state_ = State::kOpen;
  return {};
}

void InboundStream::OnAgentDrained() {
  if (relay_ && !over_) relay_->Resume();
}

void InboundStream::Cut(std::string why) {
  if (over_) return;
  if (relay_) {
    cut_ = std::move(why);
    relay_->Abort();
    return;
  }
  SendError();
  Refuse(Reason::kUpstreamRefused, std::move(why));
}

void InboundStream::Refuse(Reason reason, std::string detail) {
  if (socket_.valid()) guest::ResetSocket(std::move(socket_));
  End(reason, std::move(detail));
}

void InboundStream::End(Reason reason, std::string detail) {
  deadline_ = {};
  Tell(reason, std::move(detail));
  on_over_();
}

void InboundStream::Send(FrameType type, std::string_view payload, uint8_t flags, uint32_t credit) {
  services_.agent.Send(type, facts_.stream, payload, flags, credit);
}

void InboundStream::OnRelayEnd(SocketRelay::End end) {
  switch (end) {
    case SocketRelay::End::kFinished:
      return End(Reason::kAllowed, "");
    case SocketRelay::End::kReset:
      return End(Reason::kAllowed, cut_.empty() ? "reset by the client" : std::move(cut_));
    case SocketRelay::End::kResetByPeer:
      return End(Reason::kAllowed, "reset by the sandbox");
  }
}

}  // namespace sallyport::runtime
