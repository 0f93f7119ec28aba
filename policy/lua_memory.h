#pragma once

#include <array>
#include <cstddef>

namespace sallyport::policy {

/// The memory of one Lua state, bounded. Lua asks for very many small blocks while it reads a file:
/// those are cut from chunks, and when freed they are kept for others of their size. Large blocks
/// are malloc's. With AddressSanitizer all are, so that it sees what is used when free.
class LuaMemory {
 public:
  /// LIMIT is well above kReserve.
  explicit LuaMemory(size_t limit) : growth_limit_(limit - kReserve) {}
  /// All blocks have been freed.
  ~LuaMemory();
  LuaMemory(const LuaMemory&) = delete;
  LuaMemory& operator=(const LuaMemory&) = delete;

  /// Makes a block of NEW_SIZE bytes (0: none) of OLD, which has OLD_SIZE (0: there is none), with
  /// what is in it. Null when that is beyond the limit, with OLD as it was; never where it shrinks.
  void* Resize(void* old, size_t old_size, size_t new_size);

  /// What was taken of the process's memory, chunks as a whole; never more than the limit.
  size_t held() const { return held_; }

  /// Growth ends so far below the limit.
  static constexpr size_t kReserve = size_t{256} << 10;

 private:
  struct Link {
    Link* next;
  };
  static constexpr size_t kStep = 8;  // What Lua aligns to.
  static constexpr size_t kMostSmall = 256;

  static bool IsSmall(size_t size);
  static size_t StepsOf(size_t size) { return (size + kStep - 1) / kStep; }
  bool MayGrow(size_t old_size, size_t new_size) const;
  void* Take(size_t size);
  void* TakeSmall(size_t size);
  void GiveBack(void* block, size_t size);
  void KeepFree(void* block, size_t steps);
  void AddChunk();

  const size_t growth_limit_;
  size_t held_ = 0;
  std::array<Link*, kMostSmall / kStep + 1> free_{};  // By their size in steps.
  char* rest_ = nullptr;                              // Of the newest chunk.
  size_t rest_size_ = 0;
  Link* chunks_ = nullptr;  // Each begins with the link to the one before.
};

}  // namespace sallyport::policy
