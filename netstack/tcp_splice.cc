#include "netstack/tcp_splice.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "netstack/tcp_flow.h"

namespace sallyport::netstack {
namespace {

// Frames of 1,448 bytes, as many as one system call takes at no extra cost.
constexpr size_t kMaxParts = 64;

}  // namespace

Result<std::unique_ptr<TcpSplice>> TcpSplice::Create(Loop& loop, TcpFlow& flow, UniqueFd socket) {
  std::unique_ptr<TcpSplice> splice(new TcpSplice(flow, std::move(socket)));
  auto watch = loop.Watch(splice->socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                          [self = splice.get()](uint32_t events) { self->OnEvents(events); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  splice->watch_ = std::move(*watch);
  return splice;
}

void TcpSplice::OnEvents(uint32_t events) {
  const uint32_t broken = events & (EPOLLHUP | EPOLLERR);
  if (events & (EPOLLIN | EPOLLRDHUP) || broken) readable_ = true;
  if (events & EPOLLOUT || broken) writable_ = true;
  if (events & EPOLLRDHUP || broken) peer_finished_ = true;
  flow_.Touch();
}

void TcpSplice::Pump() {
  if (done()) return;
  PumpUp();
  // Also after a failed write: what the host sent before it broke is still to be read.
  PumpDown();
  if (failed_) return Fail();
  if (up_done_ && down_done_) Close();
}

void TcpSplice::PumpUp() {
  ReceiveQueue& received = flow_.received();
  while (writable_ && !failed_ && !received.empty()) {
    std::array<iovec, kMaxParts> parts;
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = received.Peek(parts);
    size_t offered = 0;
    for (const iovec& part : std::span(parts).first(message.msg_iovlen)) offered += part.iov_len;

    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      writable_ = false;
      failed_ = errno != EAGAIN && errno != EINTR;
      if (errno == EINTR) writable_ = true;
      return;
    }
    received.Consume(static_cast<size_t>(sent));
    flow_.OnTaken(static_cast<size_t>(sent));
    if (static_cast<size_t>(sent) < offered) writable_ = false;
  }
  if (!flow_.guest_finished() || !received.empty() || up_done_) return;
  up_done_ = true;
  if (!down_done_) shutdown(socket_.get(), SHUT_WR);
}

void TcpSplice::PumpDown() {
  while (readable_ && !down_done_) {
    if (!ReadOnce()) return;
    flow_.FlushEarly();
  }
}

// Whether there may be more to read now.
bool TcpSplice::ReadOnce() {
  SendQueue& sending = flow_.sending();
  const size_t room = flow_.Room();
  if (room == 0) return false;  // The flow is touched when there is room again.
  const std::span<uint8_t> space = sending.Space();
  SALLYPORT_CHECK(!space.empty());  // Room() says so; reading nothing would look like the end.
  const size_t want = std::min(space.size(), room);
  const ssize_t got = recv(socket_.get(), space.data(), want, MSG_DONTWAIT);
  sending.Commit(got > 0 ? static_cast<size_t>(got) : 0);
  if (got < 0) {
    if (errno == EINTR) return true;
    readable_ = false;
    if (errno != EAGAIN) failed_ = true;
    return false;
  }
  if (got == 0) {
    down_done_ = true;
    flow_.Finish();
    return false;
  }
  // A short read means that the socket is empty and will say when it is not, unless the end has
  // been announced already: there is no further event then.
  if (static_cast<size_t>(got) < want && !peer_finished_) readable_ = false;
  return true;
}

void TcpSplice::Fail() {
  flow_.FlushAll();
  flow_.Abort();
}

void TcpSplice::Reset() {
  if (done()) return;
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

void TcpSplice::Close() {
  watch_ = {};
  socket_.reset();
}

}  // namespace sallyport::netstack
