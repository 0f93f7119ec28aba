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
    : host_(host),
      stream_(stream),
      on_finished_(std::move(on_finished)),
      attempts_(loop, std::move(dial), SOCK_DGRAM, EPOLLIN) {}

void DialledDatagrams::Start() {
  TryNext();
  if (!finished_) host_.Send(FrameType::kStarted, stream_);
}

void DialledDatagrams::TryNext() {
  if (attempts_.Next([this] { OnReady(); })) return;
  host_.Send(FrameType::kError, stream_,
             ErrorMessage{.exit_code = 1, .message = "no server takes datagrams there"}.Encode());
  Finish();
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
    return send(attempts_.socket(), last_.data(), last_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
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
    const ssize_t got = recv(attempts_.socket(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == ECONNREFUSED && !answered_) return OnRefused();
    if (got < 0) return;
    answered_ = true;
    last_.clear();
    if (host_.crowded()) continue;
    host_.Send(FrameType::kDatagram, stream_, {buffer.data(), static_cast<size_t>(got)});
  }
}

void DialledDatagrams::Finish() {
  attempts_.End();
  if (!std::exchange(finished_, true)) on_finished_();
}

}  // namespace sallyport::guest
