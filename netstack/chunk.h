#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "netstack/budget.h"

namespace sallyport::netstack {

/// A piece of memory with bytes on their way to the guest. lwIP refers to them until the guest has
/// acknowledged them, so they never move.
struct Chunk {
  Chunk* next;
  size_t capacity;
  size_t filled;   // Bytes that are there.
  size_t written;  // Of these, handed to lwIP.
  size_t acked;    // Of these, acknowledged.

  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t room() const { return capacity - filled; }
};

/// Makes chunks of two sizes and keeps a few of each.
class ChunkPool {
 public:
  /// For connections that carry little.
  static constexpr size_t kSmall = 8 * 1024;
  /// One read from a socket; a third less throughput with a quarter of it.
  static constexpr size_t kLarge = 256 * 1024;

  explicit ChunkPool(Budget& budget) : budget_(budget) {}
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  enum class Size { kSmall, kLarge };
  /// Null when the budget is spent.
  Chunk* Take(Size size);
  void Put(Chunk* chunk);

 private:
  struct FreeList {
    Chunk* first = nullptr;
    size_t count = 0;
  };
  FreeList& ListOf(size_t capacity) { return capacity == kLarge ? large_ : small_; }

  Budget& budget_;
  FreeList small_;
  FreeList large_;
};

}  // namespace sallyport::netstack
