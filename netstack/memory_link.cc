#include "netstack/memory_link.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

namespace sallyport::netstack {

Result<std::unique_ptr<MemoryLink>> MemoryLink::Create() {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return tl::unexpected(Error::FromErrno("eventfd"));
  return std::unique_ptr<MemoryLink>(new MemoryLink(std::move(event)));
}

void MemoryLink::Push(std::span<const uint8_t> frame) {
  waiting_.emplace_back(frame.begin(), frame.end());
  Wake();
}

void MemoryLink::Disappear() {
  gone_ = true;
  Wake();
}

void MemoryLink::Wake() {
  eventfd_write(event_.get(), 1);
}

Result<Loop::Handle> MemoryLink::Watch(Loop& loop, std::function<void()> on_readable) {
  return loop.Watch(event_.get(), EPOLLIN, [call = std::move(on_readable)](uint32_t) { call(); });
}

Link::Received MemoryLink::Read(std::span<uint8_t> buffer) {
  if (waiting_.empty()) {
    if (gone_) return {.kind = Received::Kind::kGone};
    eventfd_t count;
    eventfd_read(event_.get(), &count);
    return {};
  }
  const Bytes frame = std::move(waiting_.front());
  waiting_.pop_front();
  const size_t length = std::min(frame.size(), buffer.size());
  std::copy_n(frame.begin(), length, buffer.begin());
  return {.kind = Received::Kind::kFrame, .length = length, .checksum_trusted = false};
}

bool MemoryLink::Write(std::span<iovec> parts, const Offload&) {
  if (full_) return false;
  Bytes& frame = sent_.emplace_back();
  for (const iovec& part : parts.subspan(1)) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    frame.insert(frame.end(), bytes, bytes + part.iov_len);
  }
  return true;
}

}  // namespace sallyport::netstack
