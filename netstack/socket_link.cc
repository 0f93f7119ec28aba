// A plain user's socket holds no more than net.core.wmem_max, some hundred frames, and lwIP
// recovers badly from loss. So frames that the socket does not take wait here, in order and up to a
// bound; EPOLLOUT is asked for meanwhile.

#include "netstack/socket_link.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <deque>
#include <utility>
#include <vector>

#include "netstack/byte_order.h"
#include "netstack/frame_stream.h"

namespace sallyport::netstack {
namespace {

// A whole send buffer of sixteen connections (StackOptions::send_buffer), which is more than a
// virtual machine's card leaves lying.
constexpr size_t kMaxWaiting = size_t{8} * 1024 * 1024;
// What the kernel may hold for the guest; it takes less where it allows no more.
constexpr int kSocketBuffer = 4 * 1024 * 1024;

bool MeansLater(int error) {
  return error == EAGAIN || error == EINTR || error == ENOBUFS;
}

enum class Framing { kMessages, kStream };

class SocketLink final : public Link {
 public:
  /// OUT is a copy of SOCKET: a loop watches a descriptor once.
  SocketLink(UniqueFd socket, UniqueFd out, Framing framing)
      : socket_(std::move(socket)), out_(std::move(out)), stream_(framing == Framing::kStream) {}

  bool has_offload() const override { return false; }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override;
  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  Received ReadMessage(std::span<uint8_t> buffer);
  Received ReadFromStream(std::span<uint8_t> buffer);
  Received TakeFromStream(std::span<uint8_t> buffer);
  enum class Fill { kSome, kNothing, kGone };
  Fill FillStream();
  bool Wait(std::span<const iovec> parts, size_t sent, size_t size);
  bool WatchWritable();
  void OnWritable();
  void OnGone();
  void CallAgain();

  UniqueFd socket_;
  UniqueFd out_;
  const bool stream_;
  Loop* loop_ = nullptr;
  std::function<void()> on_readable_;
  FrameStream incoming_;
  // Whole messages; of a stream the first may be the rest of one.
  std::deque<std::vector<uint8_t>> waiting_;
  size_t waiting_bytes_ = 0;
  Loop::Handle writable_;
  bool gone_ = false;
  bool again_posted_ = false;
  Loop::Handle
      again_;  // Says what the socket can't: that there is something that was read already.
};

Result<Loop::Handle> SocketLink::Watch(Loop& loop, std::function<void()> on_readable) {
  loop_ = &loop;
  on_readable_ = std::move(on_readable);
  return loop.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { on_readable_(); });
}

Link::Received SocketLink::Read(std::span<uint8_t> buffer) {
  if (gone_) return {.kind = Received::Kind::kGone};
  return stream_ ? ReadFromStream(buffer) : ReadMessage(buffer);
}

Link::Received SocketLink::ReadMessage(std::span<uint8_t> buffer) {
  const ssize_t got = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0)
    return {.kind = MeansLater(errno) ? Received::Kind::kNothing : Received::Kind::kGone};
  // The end of a SOCK_SEQPACKET one; nobody sends messages without a frame.
  if (got == 0) return {.kind = Received::Kind::kGone};
  // Of a message that was cut short nothing is left; it counts as malformed.
  const auto length = static_cast<size_t>(got);
  const bool whole = length <= buffer.size() && length <= kMaxFrame;
  return {.kind = Received::Kind::kFrame, .length = whole ? length : 0};
}

Link::Received SocketLink::ReadFromStream(std::span<uint8_t> buffer) {
  for (;;) {
    const Received taken = TakeFromStream(buffer);
    if (taken.kind != Received::Kind::kNothing) return taken;
    switch (FillStream()) {
      case Fill::kSome:
        continue;
      case Fill::kNothing:
        return {};
      case Fill::kGone:
        return {.kind = Received::Kind::kGone};
    }
  }
}

Link::Received SocketLink::TakeFromStream(std::span<uint8_t> buffer) {
  const auto frame = incoming_.Next();
  if (incoming_.broken()) return {.kind = Received::Kind::kGone};
  if (!frame) return {};
  std::copy(frame->begin(), frame->end(), buffer.begin());
  if (incoming_.pending()) CallAgain();
  return {.kind = Received::Kind::kFrame, .length = frame->size()};
}

SocketLink::Fill SocketLink::FillStream() {
  const std::span<uint8_t> room = incoming_.Room();
  const ssize_t got = recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (got < 0) return MeansLater(errno) ? Fill::kNothing : Fill::kGone;
  if (got == 0) return Fill::kGone;
  incoming_.Filled(static_cast<size_t>(got));
  return Fill::kSome;
}

void SocketLink::CallAgain() {
  if (again_posted_ || loop_ == nullptr) return;
  again_posted_ = true;
  again_ = loop_->Post([this] {
    again_posted_ = false;
    on_readable_();
  });
}

bool SocketLink::Write(std::span<iovec> parts, const Offload&) {
  if (gone_) return false;
  size_t size = 0;
  for (const iovec& part : parts.subspan(1)) size += part.iov_len;
  std::array<uint8_t, FrameStream::kPrefix> prefix;
  Store32(prefix.data(), static_cast<uint32_t>(size));
  parts[0] = {prefix.data(), stream_ ? prefix.size() : 0};
  size += parts[0].iov_len;
  if (!waiting_.empty()) return Wait(parts, 0, size);

  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(size)) return true;
  if (sent >= 0) return Wait(parts, static_cast<size_t>(sent), size);  // Part of it, of a stream.
  if (MeansLater(errno)) return Wait(parts, 0, size);
  if (errno != EMSGSIZE) OnGone();
  return false;
}

// Keeps what PARTS hold behind their first SENT bytes.
bool SocketLink::Wait(std::span<const iovec> parts, size_t sent, size_t size) {
  // The rest of a frame whose beginning is out must follow it.
  if (sent == 0 && waiting_bytes_ + size > kMaxWaiting) return false;
  std::vector<uint8_t> rest;
  rest.reserve(size);
  for (const iovec& part : parts) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    rest.insert(rest.end(), bytes, bytes + part.iov_len);
  }
  rest.erase(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(sent));
  waiting_bytes_ += rest.size();
  waiting_.push_back(std::move(rest));
  return WatchWritable();
}

bool SocketLink::WatchWritable() {
  if (writable_ || loop_ == nullptr) return true;
  auto watch = loop_->Watch(out_.get(), EPOLLOUT, [this](uint32_t) { OnWritable(); });
  if (watch) writable_ = std::move(*watch);
  return static_cast<bool>(watch);
}

void SocketLink::OnWritable() {
  while (!waiting_.empty()) {
    std::vector<uint8_t>& next = waiting_.front();
    const ssize_t sent = send(socket_.get(), next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && MeansLater(errno)) return;
    if (sent < 0 && errno != EMSGSIZE) return OnGone();
    const auto done = sent < 0 ? next.size() : static_cast<size_t>(sent);
    waiting_bytes_ -= done;
    if (done < next.size()) {
      next.erase(next.begin(), next.begin() + static_cast<ptrdiff_t>(done));
      return;
    }
    waiting_.pop_front();
  }
  writable_ = {};
}

// The peer is gone, which a datagram socket is only told when it sends.
void SocketLink::OnGone() {
  gone_ = true;
  waiting_.clear();
  waiting_bytes_ = 0;
  writable_ = {};
  CallAgain();
}

}  // namespace

Result<std::unique_ptr<Link>> MakeSocketLink(UniqueFd socket) {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
      getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    return tl::unexpected(Error::FromErrno("a link's socket"));
  }
  const bool known = type == SOCK_DGRAM || type == SOCK_SEQPACKET || type == SOCK_STREAM;
  if (domain != AF_UNIX || !known) return Fail(Code::kInvalid, "a link's socket is a local one");
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("fcntl"));
  }
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  UniqueFd out(fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  if (!out.valid()) return tl::unexpected(Error::FromErrno("dup"));
  const auto framing = type == SOCK_STREAM ? Framing::kStream : Framing::kMessages;
  return std::unique_ptr<Link>(new SocketLink(std::move(socket), std::move(out), framing));
}

}  // namespace sallyport::netstack
