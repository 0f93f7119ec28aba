#include "netstack/rx_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace sallyport::netstack {
namespace {

// Below this a copy is cheaper than what the frame's buffer would waste: at most half of it is
// ever unused.
constexpr size_t kCopyBelow = 32 * 1024;
// Kept for the next frames: a TCP window (1 MiB) and as much again.
constexpr size_t kMaxFree = 32;

void OnPbufFree(pbuf* p) noexcept {
  // The pbuf_custom is the buffer's first member, and the pbuf the pbuf_custom's.
  RxBufferDeleter()(reinterpret_cast<RxBuffer*>(p));
}

}  // namespace

void RxBufferDeleter::operator()(RxBuffer* buffer) const {
  buffer->pool->Release(buffer);
}

RxPool::~RxPool() {
  while (free_ != nullptr) std::free(std::exchange(free_, free_->next_free));
}

RxBuffer* RxPool::Allocate(size_t capacity) {
  void* memory = std::malloc(sizeof(RxBuffer) + 2 + capacity);
  if (memory == nullptr) std::abort();
  auto* buffer = new (memory) RxBuffer{};
  buffer->pool = this;
  buffer->capacity = capacity;
  return buffer;
}

RxBufferPtr RxPool::Take() {
  if (free_ == nullptr) return RxBufferPtr(Allocate(kMaxFrame));
  --free_count_;
  least_free_ = std::min(least_free_, free_count_);
  return RxBufferPtr(std::exchange(free_, free_->next_free));
}

void RxPool::Release(RxBuffer* buffer) {
  budget_.Give(std::exchange(buffer->charged, 0));
  if (buffer->capacity != kMaxFrame || free_count_ == kMaxFree) return std::free(buffer);
  buffer->next_free = free_;
  free_ = buffer;
  ++free_count_;
}

bool RxPool::Trim() {
  const bool any = least_free_ > 0;
  for (; least_free_ > 0; --least_free_, --free_count_) {
    std::free(std::exchange(free_, free_->next_free));
  }
  least_free_ = free_count_;
  return any;
}

pbuf* RxPool::AsPbuf(RxBuffer* buffer, uint8_t* start, size_t size) {
  buffer->custom.custom_free_function = OnPbufFree;
  const auto length = static_cast<u16_t>(size);
  return pbuf_alloced_custom(PBUF_RAW, length, PBUF_REF, &buffer->custom, start, length);
}

pbuf* RxPool::Wrap(std::span<uint8_t> segment, size_t payload, RxBufferPtr& frame) {
  const bool copy = payload > 0 && segment.size() < kCopyBelow;
  const size_t charge =
      payload == 0 ? 0 : sizeof(RxBuffer) + (copy ? segment.size() : frame->capacity);
  if (!budget_.Take(charge)) return nullptr;
  if (!copy) {
    frame->charged = charge;
    return AsPbuf(frame.release(), segment.data(), segment.size());
  }
  RxBuffer* own = Allocate(segment.size());
  own->charged = charge;
  std::memcpy(own->bytes().data(), segment.data(), segment.size());
  return AsPbuf(own, own->bytes().data(), segment.size());
}

}  // namespace sallyport::netstack
