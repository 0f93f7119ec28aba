#include "runtime/warden/frame_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

namespace sallyport::runtime {

namespace {
// Four frames a read: enough to keep bulk streams from being bound by system calls.
constexpr size_t kReadSize = 4 * guest::kMaxPayload;
}  // namespace

FrameChannel::FrameChannel(Loop& loop, UniqueFd socket, std::string peer, User& user)
    : loop_(loop), socket_(std::move(socket)), peer_(std::move(peer)), user_(user) {}

FrameChannel::~FrameChannel() {
  if (destroyed_ != nullptr) *destroyed_ = true;
}

Result<std::unique_ptr<FrameChannel>> FrameChannel::Create(Loop& loop, UniqueFd socket,
                                                           std::string peer, User& user) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("fcntl"));
  }
  std::unique_ptr<FrameChannel> channel(
      new FrameChannel(loop, std::move(socket), std::move(peer), user));
  auto watch = loop.Watch(channel->socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                          [raw = channel.get()](uint32_t events) { raw->OnReady(events); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  channel->watch_ = *std::move(watch);
  channel->flush_ = loop.AtTurnEnd([raw = channel.get()] { raw->Flush(); });
  return channel;
}

void FrameChannel::Send(guest::FrameType type, uint32_t stream, std::string_view payload,
                        uint8_t flags, uint32_t credit) {
  guest::AppendFrame(out_, type, stream, payload, flags, credit);
}

Status FrameChannel::SendMessage(guest::FrameType type, uint32_t stream, std::string_view payload) {
  return guest::AppendMessage(out_, type, stream, payload);
}

void FrameChannel::Pause() {
  paused_ = true;
}

void FrameChannel::Resume() {
  if (!paused_) return;
  paused_ = false;
  resume_ = loop_.Post([this] { ReadSome(); });
}

void FrameChannel::OnReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    readable_ = true;
    ReadSome();
  }
}

void FrameChannel::ReadSome() {
  bool destroyed = false;
  destroyed_ = &destroyed;
  // On the heap, as each thread's start fills its share of what is not.
  static thread_local const auto memory =
      std::make_unique_for_overwrite<std::array<char, kReadSize>>();
  auto& buffer = *memory;
  while (!ended_ && !paused_) {
    if (!Deliver() || destroyed) break;
    if (paused_ || ended_ || !readable_) break;
    const ssize_t count = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count > 0) {
      decoder_.Feed({buffer.data(), static_cast<size_t>(count)});
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      readable_ = false;
      break;
    }
    End(count == 0 ? Error(Code::kUnreachable, peer_ + " closed the connection")
                   : Error::FromErrno("reading from " + peer_));
    break;
  }
  if (!destroyed) destroyed_ = nullptr;
}

/// Hands out whole frames while the user takes them. False when the channel ended or is gone.
bool FrameChannel::Deliver() {
  bool* const destroyed = destroyed_;
  while (!paused_ && !ended_) {
    auto frame = decoder_.Next();
    if (!frame) {
      End(std::move(frame).error().In(peer_));
      return false;
    }
    if (!*frame) return true;
    auto message = assembler_.Add(std::move(**frame));
    if (!message) {
      End(std::move(message).error().In(peer_));
      return false;
    }
    if (!*message) continue;
    user_.OnFrame(std::move(**message));
    if (*destroyed) return false;
  }
  return !ended_;
}

void FrameChannel::Flush() {
  if (full()) was_full_ = true;  // Whoever saw that waits to hear of room.
  while (sent_ < out_.size() && !ended_) {
    const ssize_t count =
        send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;  // Full: an edge follows. Broken: reading reports it.
    sent_ += static_cast<size_t>(count);
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  } else if (sent_ > kHighWater) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  if (was_full_ && !full()) {
    was_full_ = false;
    user_.OnChannelDrained();
  }
}

Status FrameChannel::Drain(Clock::duration limit) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    Flush();
    if (sent_ == out_.size()) return {};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) == 0) {
      return Fail(Code::kTimeout, peer_ + " does not read");
    }
    if ((ready.revents & (POLLERR | POLLHUP)) != 0)
      return Fail(Code::kUnreachable, peer_ + " is gone");
  }
}

void FrameChannel::End(Error why) {
  if (ended_) return;
  ended_ = true;
  user_.OnChannelEnd(std::move(why));
}

}  // namespace sallyport::runtime
