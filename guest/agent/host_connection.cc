// Limits: programs' output is taken while less than kCrowded waits for the host, so at most that
// and one frame of it is buffered, for all programs together. Answers to the host itself (credit,
// pongs, errors) are not held back by that; if they pile up to kNoMoreRequests, nothing is read
// from the host until it has taken them. A host that reads always gets there; one that doesn't
// stalls itself.

#include "guest/agent/host_connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace sallyport::guest {
namespace {

constexpr size_t kCrowded = size_t{256} * 1024;
constexpr size_t kNoMoreRequests = size_t{1024} * 1024;
constexpr size_t kReadSize = size_t{64} * 1024;
// A host that is alive reads at once; one that is not can't hold us.
constexpr int kLastWordsMs = 500;

}  // namespace

Status HostConnection::Start(Events events) {
  events_ = std::move(events);
  const int flags = fcntl(fd_.get(), F_GETFL);
  if (flags < 0 || fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("the host's descriptor"));
  }
  turn_end_ = loop_.AtTurnEnd([this] { SendSome(); });
  interest_ = EPOLLIN;
  auto watch = loop_.Watch(fd_.get(), interest_, [this](uint32_t ready) { OnReady(ready); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  watch_ = *std::move(watch);
  return {};
}

void HostConnection::Send(FrameType type, uint32_t stream, std::string_view payload, uint8_t flags,
                          uint32_t credit) {
  AppendFrame(out_, type, stream, payload, flags, credit);
  if (out_.size() - sent_ >= kCrowded) crowded_ = true;
}

void HostConnection::OnReady(uint32_t events) {
  if (ended_) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) ReadSome();
  // What can be sent leaves at the turn's end.
}

void HostConnection::ReadSome() {
  std::array<char, kReadSize> buffer;
  const ssize_t got = read(fd_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) return End(Error::FromErrno("reading from the host"));
  if (got == 0) return End(Error(Code::kUnreachable, "the host closed the connection"));
  decoder_.Feed({buffer.data(), static_cast<size_t>(got)});
  TakeFrames();
}

void HostConnection::TakeFrames() {
  while (!ended_) {
    auto frame = decoder_.Next();
    if (!frame) return End(std::move(frame).error());
    if (!*frame) return;
    auto message = assembler_.Add(**std::move(frame));
    if (!message) return End(std::move(message).error());
    if (*message) events_.on_frame(**std::move(message));
  }
}

void HostConnection::SendSome() {
  if (ended_) return;
  while (sent_ < out_.size()) {
    const ssize_t written = write(fd_.get(), out_.data() + sent_, out_.size() - sent_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) break;
    if (written < 0) return End(Error::FromErrno("writing to the host"));
    sent_ += static_cast<size_t>(written);
  }
  // Not after each write, which would move what is left each time.
  if (sent_ == out_.size() || sent_ >= kCrowded) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  UpdateInterest();
  if (ended_ || !crowded_ || out_.size() - sent_ >= kCrowded / 2) return;
  crowded_ = false;
  events_.on_room();
}

void HostConnection::UpdateInterest() {
  const size_t waiting = out_.size() - sent_;
  const uint32_t interest =
      (waiting > 0 ? uint32_t{EPOLLOUT} : 0) | (waiting < kNoMoreRequests ? uint32_t{EPOLLIN} : 0);
  if (interest == interest_) return;
  interest_ = interest;
  watch_ = {};
  auto watch = loop_.Watch(fd_.get(), interest, [this](uint32_t ready) { OnReady(ready); });
  if (!watch) return End(std::move(watch).error());
  watch_ = *std::move(watch);
}

void HostConnection::FinishSending() {
  ended_ = true;
  const auto deadline = Clock::now() + std::chrono::milliseconds(kLastWordsMs);
  while (sent_ < out_.size()) {
    const ssize_t written = write(fd_.get(), out_.data() + sent_, out_.size() - sent_);
    if (written > 0) sent_ += static_cast<size_t>(written);
    if (written >= 0 || errno == EINTR) continue;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (errno != EAGAIN || left <= 0) return;
    pollfd room{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    if (poll(&room, 1, static_cast<int>(left)) <= 0) return;
  }
}

void HostConnection::End(Error error) {
  watch_ = {};
  ended_ = true;
  events_.on_end(std::move(error));
}

}  // namespace sallyport::guest
