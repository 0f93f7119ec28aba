#include "guest/agent/dialled_stream.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace sallyport::guest {
namespace {

// For all addresses together. A server whose queue is full answers when the kernel asks again,
// after one second and then after two more.
constexpr auto kDialDeadline = std::chrono::seconds(10);

/// Whether SOCKET got itself for a peer: connecting to a port of the ephemeral range at which
/// nobody listens does that when the kernel picks the same port for our end.
bool IsConnectedToItself(int socket) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_size = sizeof own;
  socklen_t peer_size = sizeof peer;
  return getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) == 0 &&
         getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0 &&
         own_size == peer_size && std::memcmp(&own, &peer, own_size) == 0;
}

bool HasFailed(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0;
}

}  // namespace

DialledStream::DialledStream(Loop& loop, HostConnection& host, uint32_t stream, Dial dial,
                             std::function<void()> on_finished)
    : loop_(loop),
      host_(host),
      stream_(stream),
      on_finished_(std::move(on_finished)),
      attempts_(loop, std::move(dial), SOCK_STREAM, EPOLLOUT) {}

void DialledStream::Start() {
  deadline_ = loop_.After(kDialDeadline, [this] { Refuse(); });
  TryNext();
}

void DialledStream::TryNext() {
  if (!attempts_.Next([this] { OnConnecting(); })) Refuse();
}

void DialledStream::OnConnecting() {
  if (HasFailed(attempts_.socket()) || IsConnectedToItself(attempts_.socket())) return TryNext();
  OnConnected();
}

void DialledStream::OnConnected() {
  deadline_ = {};
  auto relay = SocketRelay::Start(loop_, attempts_.Take(), *this);
  if (!relay) return Refuse();
  relay_ = *std::move(relay);
  host_.Send(FrameType::kStarted, stream_);
}

void DialledStream::Refuse() {
  host_.Send(FrameType::kError, stream_,
             ErrorMessage{.exit_code = 1, .message = "no server accepts the connection"}.Encode());
  Finish();
}

void DialledStream::Finish() {
  deadline_ = {};
  attempts_.End();
  if (!std::exchange(finished_, true)) on_finished_();
}

Status DialledStream::OnFrame(const Frame& frame) {
  if (finished_) return {};  // Sent before the host knew.
  if (relay_) return relay_->OnFrame(frame);
  if (frame.type != FrameType::kError) return Fail(Code::kInvalid, "a frame before the answer");
  Finish();
  return {};
}

void DialledStream::OnRoom() {
  if (relay_ && !finished_) relay_->Resume();
}

void DialledStream::Send(FrameType type, std::string_view payload, uint8_t flags, uint32_t credit) {
  host_.Send(type, stream_, payload, flags, credit);
}

}  // namespace sallyport::guest
