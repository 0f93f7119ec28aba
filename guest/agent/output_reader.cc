#include "guest/agent/output_reader.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "guest/protocol/frame.h"

namespace sallyport::guest {
namespace {

// The most that a program can have left in a pipe (the kernel's limit for its size, if it is not
// privileged) or a terminal; what comes behind was written by another process.
constexpr size_t kMaxLeftBehind = size_t{1024} * 1024;

}  // namespace

OutputReader::OutputReader(Loop& loop, UniqueFd fd, Events events)
    : loop_(loop), fd_(std::move(fd)), events_(std::move(events)) {}

void OutputReader::Update() {
  // Not left to the next event: there is none if nothing was left behind.
  if (draining_) ReadLeftBehind();
  const bool wanted = open() && events_.allowed() > 0;
  if (!wanted) {
    watch_ = {};
  } else if (!watch_) {
    auto watch = loop_.Watch(fd_.get(), EPOLLIN, [this](uint32_t) { OnReady(); });
    if (!watch) return End();  // Out of memory for it in the kernel: the output is lost.
    watch_ = *std::move(watch);
  }
}

void OutputReader::Drain() {
  draining_ = true;
  Update();
}

void OutputReader::OnReady() {
  ReadOnce();  // One piece a turn, so that each program gets its own.
  Update();
}

void OutputReader::ReadLeftBehind() {
  while (!drained() && ReadOnce() == Read::kData) {
  }
}

OutputReader::Read OutputReader::ReadOnce() {
  std::array<char, kMaxPayload> buffer;
  const size_t most = std::min(events_.allowed(), buffer.size());
  if (most == 0) return Read::kNothing;
  const ssize_t got = read(fd_.get(), buffer.data(), most);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    if (draining_ && errno == EAGAIN) SetDrained();
    return Read::kNothing;
  }
  if (got <= 0) {  // EIO is how a terminal ends.
    End();
    return Read::kEnd;
  }
  events_.on_data({buffer.data(), static_cast<size_t>(got)});
  if (draining_) drained_bytes_ += static_cast<size_t>(got);
  if (drained_bytes_ >= kMaxLeftBehind) SetDrained();
  return Read::kData;
}

void OutputReader::End() {
  watch_ = {};
  fd_.reset();
  events_.on_end();
}

void OutputReader::SetDrained() {
  if (!std::exchange(drained_, true)) events_.on_drained();
}

}  // namespace sallyport::guest
