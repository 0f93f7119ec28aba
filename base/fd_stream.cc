#include "base/fd_stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/turn_flush.h"

// The socket is watched edge-triggered, for both directions at once, from beginning to end: a
// transfer costs no epoll_ctl. So this file remembers what the edges said: `readable_` and
// `writable_` stay set until the kernel says EAGAIN (or, for reading, until it gave less than was
// asked for while no end was announced: then nothing is left, and the next byte makes an edge).

namespace sallyport {
namespace {

// Small reads are served from a block of this size: one system call for four TLS records.
constexpr BlockPool::Size kReadBlock = BlockPool::Size::k64KiB;
// A read of this size or more goes straight to the caller's buffer.
constexpr size_t kDirectRead = 32 * 1024;
// Written bytes are gathered up to kSendAt; the rest is room for one more TLS record, so that a
// writer of whole records never finds itself a few bytes short.
constexpr size_t kSendAt = 64 * 1024;
constexpr BlockPool::Size kWriteBlock = BlockPool::Size::k96KiB;
// How long unsent bytes of a destroyed stream are kept for a peer that does not read.
constexpr std::chrono::seconds kFdStreamLinger{10};

/// A prefix of SIZE bytes went out; 0 for "would block", -1 for a failure.
ssize_t SendSome(int fd, const uint8_t* bytes, size_t size) {
  ssize_t sent;
  do {
    sent = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  return sent;
}

/// A block of bytes that is filled at its end and emptied from its front. There only while it is
/// not empty.
class Queue {
 public:
  Queue(BlockPool& pool, BlockPool::Size capacity) : pool_(&pool), capacity_(capacity) {}

  size_t capacity() const { return BlockPool::BytesOf(capacity_); }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  const uint8_t* data() const { return bytes_.get() + begin_; }
  size_t room() const { return capacity() - end_; }

  uint8_t* Tail() {
    if (!bytes_) bytes_ = pool_->Take(capacity_);
    return bytes_.get() + end_;
  }
  void Grow(size_t size) { end_ += size; }
  void Drop(size_t size) {
    begin_ += size;
    if (begin_ == end_) Clear();
  }
  void Clear() {
    bytes_.reset();
    begin_ = end_ = 0;
  }
  /// Moves what is left to the front, so that the room is in one piece.
  void Compact() {
    if (begin_ == 0) return;
    std::memmove(bytes_.get(), bytes_.get() + begin_, size());
    end_ -= begin_;
    begin_ = 0;
  }

 private:
  BlockPool* pool_;
  BlockPool::Size capacity_;
  BlockPool::Block bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

/// Sends what a destroyed stream had not sent yet. Owns itself: it ends when everything is sent,
/// at the first failure, or at its deadline.
class Lingering {
 public:
  static void Start(Loop& loop, UniqueFd socket, Queue unsent) {
    auto* lingering = new Lingering(std::move(socket), std::move(unsent));
    auto watch = loop.Watch(lingering->socket_.get(), EPOLLOUT | EPOLLET,
                            [lingering](uint32_t) { lingering->Send(); });
    if (!watch) {
      delete lingering;
      return;
    }
    lingering->watch_ = std::move(*watch);
    lingering->deadline_ = loop.After(kFdStreamLinger, [lingering] { delete lingering; });
  }

 private:
  Lingering(UniqueFd socket, Queue unsent)
      : socket_(std::move(socket)), unsent_(std::move(unsent)) {}

  void Send() {
    const ssize_t sent = SendSome(socket_.get(), unsent_.data(), unsent_.size());
    if (sent > 0) unsent_.Drop(static_cast<size_t>(sent));
    if (sent < 0 || unsent_.empty()) delete this;
  }

  UniqueFd socket_;
  Queue unsent_;
  Loop::Handle watch_;
  Loop::Handle deadline_;
};

class FdStream final : public Stream {
 public:
  FdStream(Loop& loop, UniqueFd socket)
      : loop_(loop),
        socket_(std::move(socket)),
        incoming_(loop.blocks(), kReadBlock),
        outgoing_(loop.blocks(), kWriteBlock),
        turn_flush_(loop, [this] { Send(); }) {}
  ~FdStream() override;

  Status Start();

  void SetListener(Listener* listener) override;
  ReadResult Read(std::span<uint8_t> buffer) override;
  size_t Room() override;
  size_t Write(std::string_view bytes) override;
  void Flush() override { Send(); }
  void CloseWrite() override;
  void Abort() override;

 private:
  enum class Sending { kOpen, kClosing, kClosed };

  void OnReady(uint32_t events);
  void Tell();
  bool MayReceive() const { return readable_ && !broken_ && !ended_; }
  ReadResult Receive(uint8_t* bytes, size_t size);
  void Send();
  void FinishSending();

  Loop& loop_;
  UniqueFd socket_;
  Listener* listener_ = nullptr;
  bool untold_ = false;  // Something happened while nobody listened.
  bool readable_ = true;
  bool writable_ = true;
  bool end_announced_ = false;  // The peer's FIN has arrived, perhaps behind bytes not yet read.
  bool ended_ = false;
  bool broken_ = false;        // Nothing works any more.
  bool write_broken_ = false;  // The peer takes nothing more; what it sent can still be read.
  Sending sending_ = Sending::kOpen;
  Queue incoming_;
  Queue outgoing_;
  TurnFlush turn_flush_;
  Loop::Handle watch_;
  Loop::Handle tell_;
};

Status FdStream::Start() {
  const int flags = fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("fcntl"));
  }
  // Writes are gathered here, so waiting for more in the kernel only adds delay. Fails, without
  // harm, on sockets that are not TCP.
  const int on = 1;
  (void)setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  auto watch = loop_.Watch(socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                           [this](uint32_t events) { OnReady(events); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  watch_ = std::move(*watch);
  return {};
}

FdStream::~FdStream() {
  watch_ = {};
  if (broken_ || write_broken_) return;
  Send();
  if (!outgoing_.empty() && !write_broken_) {
    Lingering::Start(loop_, std::move(socket_), std::move(outgoing_));
  }
}

void FdStream::OnReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) end_announced_ = true;
  if ((events & EPOLLOUT) != 0) {
    writable_ = true;
    Send();
  }
  Tell();
}

void FdStream::Tell() {
  if (listener_ == nullptr) {
    untold_ = true;
    return;
  }
  listener_->OnStreamReady();  // May destroy this.
}

void FdStream::SetListener(Listener* listener) {
  listener_ = listener;
  tell_ = {};
  if (listener_ != nullptr && std::exchange(untold_, false)) {
    tell_ = loop_.Post([this] { Tell(); });
  }
}

ReadResult FdStream::Read(std::span<uint8_t> buffer) {
  if (buffer.empty()) return {};
  if (incoming_.empty()) {
    if (buffer.size() >= kDirectRead || !MayReceive()) {
      return Receive(buffer.data(), buffer.size());
    }
    const ReadResult result = Receive(incoming_.Tail(), incoming_.capacity());
    if (result.kind != ReadResult::Kind::kBytes) {
      incoming_.Clear();
      return result;
    }
    incoming_.Grow(result.bytes);
  }
  const size_t size = std::min(buffer.size(), incoming_.size());
  std::memcpy(buffer.data(), incoming_.data(), size);
  incoming_.Drop(size);
  return {ReadResult::Kind::kBytes, size, incoming_.empty() && !readable_};
}

ReadResult FdStream::Receive(uint8_t* bytes, size_t size) {
  if (broken_) return {ReadResult::Kind::kBroken};
  if (ended_) return {ReadResult::Kind::kEnd};
  if (!readable_) return {ReadResult::Kind::kWouldBlock};
  ssize_t received;
  do {
    received = recv(socket_.get(), bytes, size, MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  if (received > 0) {
    if (static_cast<size_t>(received) < size && !end_announced_) readable_ = false;
    return {ReadResult::Kind::kBytes, static_cast<size_t>(received), !readable_};
  }
  if (received == 0) {
    ended_ = true;
    return {ReadResult::Kind::kEnd};
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    readable_ = false;
    return {ReadResult::Kind::kWouldBlock};
  }
  broken_ = true;
  return {ReadResult::Kind::kBroken};
}

size_t FdStream::Room() {
  if (broken_ || write_broken_ || sending_ != Sending::kOpen) return 0;
  if (outgoing_.size() >= kSendAt) Send();
  if (write_broken_) return 0;
  return outgoing_.room();
}

size_t FdStream::Write(std::string_view bytes) {
  // Goes on until the kernel takes no more: only then does an edge tell that there is room again.
  size_t taken = 0;
  while (taken < bytes.size()) {
    const size_t size = std::min(bytes.size() - taken, Room());
    if (size == 0) break;
    std::memcpy(outgoing_.Tail(), bytes.data() + taken, size);
    outgoing_.Grow(size);
    taken += size;
  }
  if (!outgoing_.empty()) turn_flush_.Arm();
  return taken;
}

void FdStream::Send() {
  while (writable_ && !outgoing_.empty() && !write_broken_ && !broken_) {
    const ssize_t sent = SendSome(socket_.get(), outgoing_.data(), outgoing_.size());
    if (sent > 0) {
      outgoing_.Drop(static_cast<size_t>(sent));
    } else if (sent == 0) {
      writable_ = false;
    } else {
      write_broken_ = true;
      outgoing_.Clear();
    }
  }
  outgoing_.Compact();
  if (sending_ == Sending::kClosing && outgoing_.empty()) FinishSending();
}

void FdStream::CloseWrite() {
  if (sending_ != Sending::kOpen) return;
  sending_ = Sending::kClosing;
  Send();
}

void FdStream::FinishSending() {
  sending_ = Sending::kClosed;
  (void)shutdown(socket_.get(), SHUT_WR);  // Fails only when the peer is gone; reading tells.
}

void FdStream::Abort() {
  if (!socket_.valid()) return;
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  (void)setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  watch_ = {};
  socket_.reset();
  broken_ = true;
  incoming_.Clear();
  outgoing_.Clear();
}

}  // namespace

Result<std::unique_ptr<Stream>> MakeFdStream(Loop& loop, UniqueFd socket) {
  auto stream = std::make_unique<FdStream>(loop, std::move(socket));
  if (auto started = stream->Start(); !started) return tl::unexpected(std::move(started).error());
  return std::unique_ptr<Stream>(std::move(stream));
}

}  // namespace sallyport
