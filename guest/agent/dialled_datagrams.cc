#include "guest/agent/dialled_datagrams.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sallyport::guest {
namespace {

constexpr int kDatagramsATurn = 64;  // So that a busy server leaves others their turn.

}  // namespace

DialledDatagrams::DialledDatagrams(Loop& loop, HostConnection& host, uint32_t stream, Dial dial,
                                   std::function<void()> on_finished)
    : loop_(loop),
      host_(host),
      stream_(stream),
      dial_(std::move(dial)),
      on_finished_(std::move(on_finished)) {}

void DialledDatagrams::Start() {
  TryNext();
  if (!finished_) host_.Send(FrameType::kStarted, stream_);
}

void DialledDatagrams::TryNext() {
  while (next_ < dial_.addresses.size()) {
    if (Try(dial_.addresses[next_++])) return;
  }
  host_.Send(FrameType::kError, stream_,
             ErrorMessage{.exit_code = 1, .message = "no server takes datagrams there"}.Encode());
  Finish();
}

bool DialledDatagrams::Try(const std::string& address) {
  watch_ = {};
  socket_ = BeginConnecting(address, dial_.port, SOCK_DGRAM);
  if (!socket_.valid()) return false;
  auto watch = loop_.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { OnReady(); });
  if (!watch) return false;
  watch_ = *std::move(watch);
  return true;
}

Status DialledDatagrams::OnFrame(const Frame& frame) {
  if (finished_) return {};
  if (frame.type == FrameType::kError) {
    Finish();
    return {};
  }
  if (frame.type != FrameType::kDatagram || frame.payload.size() > kMaxDatagram) {
    return Fail(Code::kInvalid, "a frame that has no place on a stream of datagrams");
  }
  last_ = frame.payload;
  SendToServer();
  if (answered_) last_.clear();
  return {};
}

void DialledDatagrams::SendToServer() {
  const auto send_once = [this] {
    return send(socket_.get(), last_.data(), last_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  if (send_once() >= 0 || errno != ECONNREFUSED) return;  // A full socket loses it, as a wire does.
  // What was refused is an earlier one; this one has not been sent.
  answered_ ? (void)send_once() : OnRefused();
}

void DialledDatagrams::OnRefused() {
  TryNext();
  if (!finished_ && !last_.empty()) SendToServer();
}

void DialledDatagrams::OnReady() {
  std::array<char, kMaxPayload> buffer;
  for (int i = 0; i < kDatagramsATurn; ++i) {
    const ssize_t got = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == ECONNREFUSED && !answered_) return OnRefused();
    if (got < 0) return;
    answered_ = true;
    last_.clear();
    if (host_.crowded()) continue;
    host_.Send(FrameType::kDatagram, stream_, {buffer.data(), static_cast<size_t>(got)});
  }
}

void DialledDatagrams::Finish() {
  watch_ = {};
  socket_.reset();
  if (!std::exchange(finished_, true)) on_finished_();
}

}  // namespace sallyport::guest
