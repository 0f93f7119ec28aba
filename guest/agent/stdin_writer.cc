#include "guest/agent/stdin_writer.h"

#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sallyport::guest {

StdinWriter::StdinWriter(Loop& loop, UniqueFd fd, Kind kind, std::function<void(size_t)> on_taken)
    : loop_(loop), fd_(std::move(fd)), kind_(kind), on_taken_(std::move(on_taken)) {}

void StdinWriter::Write(std::string_view bytes) {
  if (bytes.empty() || end_) return;
  if (!fd_.valid()) return on_taken_(bytes.size());
  last_ = bytes.back();
  waiting_.append(bytes);
  if (!watch_) WriteSome();
}

void StdinWriter::End() {
  if (std::exchange(end_, true) || !fd_.valid()) return;
  if (kind_ == Kind::kTerminal) waiting_.append(EndCharacters());
  if (!watch_) WriteSome();
}

void StdinWriter::OnReady(uint32_t events) {
  WriteSome();
  // A terminal that nobody has open takes nothing, says so at once, and again and again.
  if (!waiting_.empty() && (events & (EPOLLHUP | EPOLLERR)) != 0) Discard();
}

void StdinWriter::WriteSome() {
  size_t taken = 0;
  while (taken < waiting_.size()) {
    const ssize_t written = write(fd_.get(), waiting_.data() + taken, waiting_.size() - taken);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno != EAGAIN) return Discard();
    if (written <= 0) break;
    taken += static_cast<size_t>(written);
  }
  waiting_.erase(0, taken);
  UpdateWatch();
  if (taken > 0) on_taken_(taken);
}

void StdinWriter::UpdateWatch() {
  if (waiting_.empty()) {
    watch_ = {};
    if (end_) fd_.reset();
  } else if (!watch_) {
    auto watch = loop_.Watch(fd_.get(), EPOLLOUT, [this](uint32_t events) { OnReady(events); });
    if (!watch) return Discard();
    watch_ = *std::move(watch);
  }
}

void StdinWriter::Discard() {
  watch_ = {};
  fd_.reset();
  const size_t lost = std::exchange(waiting_, {}).size();
  if (lost > 0) on_taken_(lost);
}

std::string StdinWriter::EndCharacters() const {
  termios settings;
  if (tcgetattr(fd_.get(), &settings) != 0 || (settings.c_lflag & ICANON) == 0) return {};
  const char end = static_cast<char>(settings.c_cc[VEOF]);
  // Behind a begun line the first one only hands over that line.
  return last_ == '\n' || last_ == '\r' ? std::string(1, end) : std::string(2, end);
}

}  // namespace sallyport::guest
