#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "netstack/budget.h"
#include "netstack/link.h"
#include "netstack/lwip/port.h"

namespace sallyport::netstack {

class RxPool;

/// Memory for a frame that was read, which lwIP can keep without a copy.
struct RxBuffer {
  pbuf_custom custom;  // First, so that lwIP's pointer to it is one to the buffer.
  RxPool* pool;
  RxBuffer* next_free;
  size_t capacity;
  size_t charged;  // To the budget.

  /// The frame's memory. Two bytes in, so that after an Ethernet header IP's is aligned.
  std::span<uint8_t> bytes() { return {reinterpret_cast<uint8_t*>(this + 1) + 2, capacity}; }
};

struct RxBufferDeleter {
  void operator()(RxBuffer* buffer) const;
};
using RxBufferPtr = std::unique_ptr<RxBuffer, RxBufferDeleter>;

/// Makes RxBuffers, keeps a few for the next frames, and turns what is in them into lwIP's pbufs.
class RxPool {
 public:
  explicit RxPool(Budget& budget) : budget_(budget) {}
  ~RxPool();
  RxPool(const RxPool&) = delete;
  RxPool& operator=(const RxPool&) = delete;

  /// A buffer with room for kMaxFrame.
  RxBufferPtr Take();

  /// Whether it keeps any for later.
  bool keeps_any() const { return free_count_ > 0; }
  /// Gives back what it has kept and nobody has needed since the last call. Whether that was any.
  bool Trim();

  /// SEGMENT, a TCP header and payload of PAYLOAD bytes inside FRAME, for lwIP to keep. A large one
  /// takes FRAME along (which is null then); a small one is copied, so that it does not pin 64 KiB.
  /// Null when there is no budget for it.
  pbuf* Wrap(std::span<uint8_t> segment, size_t payload, RxBufferPtr& frame);

 private:
  friend struct RxBufferDeleter;
  pbuf* AsPbuf(RxBuffer* buffer, uint8_t* start, size_t size);
  RxBuffer* Allocate(size_t capacity);
  void Release(RxBuffer* buffer);

  Budget& budget_;
  RxBuffer* free_ = nullptr;
  size_t free_count_ = 0;
  size_t least_free_ = 0;  // Since the last Trim().
};

}  // namespace sallyport::netstack
