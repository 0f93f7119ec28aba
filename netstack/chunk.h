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

/// Makes chunks of three sizes and keeps a few of each.
class ChunkPool {
 public:
  /// For a short message: a thousand connections may have one each under way.
  static constexpr size_t kTiny = 1024;
  /// For connections that carry little.
  static constexpr size_t kSmall = 8 * 1024;
  /// One read from a socket; a third less throughput with a quarter of it.
  static constexpr size_t kLarge = 256 * 1024;

  explicit ChunkPool(Budget& budget) : budget_(budget) {}
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  enum class Size { kTiny, kSmall, kLarge };
  /// Null when the budget is spent.
  Chunk* Take(Size size);
  void Put(Chunk* chunk);

  /// Whether it keeps any for later.
  bool keeps_any() const { return tiny_.count + small_.count + large_.count > 0; }
  /// Gives back what it has kept and nobody has needed since the last call. Whether that was any.
  bool Trim();

 private:
  struct FreeList {
    Chunk* first = nullptr;
    size_t count = 0;
    size_t least = 0;  // Of `count`, since the last Trim().
  };
  FreeList& ListOf(size_t capacity) {
    return capacity == kLarge ? large_ : capacity == kSmall ? small_ : tiny_;
  }

  Budget& budget_;
  FreeList tiny_;
  FreeList small_;
  FreeList large_;
};

}  // namespace sallyport::netstack
