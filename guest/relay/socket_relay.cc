// The socket is watched edge-triggered, for both directions at once: readable_ and writable_ stay
// set until the kernel says EAGAIN. A socket that takes nothing more is read to its end all the
// same, for a server may refuse the rest of an upload and still answer; then both ends are reset.

#include "guest/relay/socket_relay.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "guest/protocol/messages.h"

namespace sallyport::guest {

void ResetSocket(UniqueFd socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  (void)setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

Result<std::unique_ptr<SocketRelay>> SocketRelay::Start(Loop& loop, UniqueFd socket,
                                                        Frames& frames) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("fcntl"));
  }
  // Frames come whole, so waiting for more in the kernel only adds delay.
  const int on = 1;
  (void)setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::unique_ptr<SocketRelay> relay(new SocketRelay(std::move(socket), frames));
  auto watch = loop.Watch(relay->socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                          [raw = relay.get()](uint32_t events) { raw->OnReady(events); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  relay->watch_ = *std::move(watch);
  return relay;
}

SocketRelay::~SocketRelay() {
  watch_ = {};
  if (!over_) ResetSocket(std::move(socket_));
}

void SocketRelay::OnReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  Pump();
}

Status SocketRelay::OnFrame(const Frame& frame) {
  if (over_) return {};  // Sent before the other end knew.
  if (Status granted = send_credit_.Grant(frame.credit); !granted) return granted;
  switch (frame.type) {
    case FrameType::kCredit:
      break;
    case FrameType::kError:
      Finish(End::kResetByPeer);
      return {};
    case FrameType::kData:
      if (peer_ended_) return Fail(Code::kInvalid, "data behind its end");
      if (Status received = receive_credit_.OnReceived(frame.payload.size()); !received) {
        return received;
      }
      pending_.append(frame.payload);
      peer_ended_ = frame.end();
      break;
    default:
      return Fail(Code::kInvalid, "a frame that has no place on a dialled stream");
  }
  Pump();
  return {};
}

void SocketRelay::Pump() {
  if (!over_) WriteSome();
  if (!over_) ReadSome();
  if (!over_ && socket_ended_ && write_ended_) Finish(End::kFinished);
}

void SocketRelay::WriteSome() {
  size_t taken = 0;
  while (writable_ && !write_failed_ && taken < pending_.size()) {
    const ssize_t sent = send(socket_.get(), pending_.data() + taken, pending_.size() - taken,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      writable_ = false;
    } else if (sent < 0) {
      write_failed_ = true;
    } else {
      taken += static_cast<size_t>(sent);
      to_socket_ += static_cast<uint64_t>(sent);
    }
  }
  if (write_failed_) {
    taken = pending_.size();  // Nobody will ever take it: the other end is not held up by it.
    if (socket_ended_) return Abort();
  }
  pending_.erase(0, taken);
  const uint32_t grant = receive_credit_.OnConsumed(taken);
  if (grant > 0 && !peer_ended_) frames_.Send(FrameType::kCredit, {}, 0, grant);
  if (!peer_ended_ || !pending_.empty() || write_failed_ || write_ended_) return;
  write_ended_ = true;
  (void)shutdown(socket_.get(), SHUT_WR);  // Fails only when the peer is gone; reading tells.
}

bool SocketRelay::MayRead() const {
  return !over_ && readable_ && !socket_ended_ && send_credit_.available() > 0 &&
         !frames_.crowded();
}

void SocketRelay::ReadSome() {
  std::array<char, kMaxPayload> buffer;
  while (MayRead()) {
    const size_t most = std::min<size_t>(send_credit_.available(), buffer.size());
    const ssize_t got = recv(socket_.get(), buffer.data(), most, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      readable_ = false;
    } else if (got < 0) {
      Abort();
    } else if (got == 0) {
      OnSocketEnd();
    } else {
      const auto size = static_cast<size_t>(got);
      send_credit_.Spend(size);
      from_socket_ += size;
      frames_.Send(FrameType::kData, {buffer.data(), size}, 0, 0);
    }
  }
}

void SocketRelay::OnSocketEnd() {
  socket_ended_ = true;
  if (write_failed_) return Abort();
  frames_.Send(FrameType::kData, {}, kFlagEnd, 0);
}

void SocketRelay::Abort() {
  if (over_) return;
  frames_.Send(FrameType::kError, ErrorMessage{.exit_code = 1, .message = "reset"}.Encode(), 0, 0);
  Finish(End::kReset);
}

void SocketRelay::Finish(End end) {
  over_ = true;
  watch_ = {};
  if (end == End::kFinished) {
    socket_.reset();
  } else {
    ResetSocket(std::move(socket_));
  }
  pending_.clear();
  frames_.OnRelayEnd(end);
}

}  // namespace sallyport::guest
