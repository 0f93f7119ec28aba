#include "policy/lua_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

// Chunks stay until the end, so what was small once is never large again: a script that needs all
// of its memory for both, one after the other, is refused the second.
//
// Lua relies on shrinking, which may want a small block in the place of a large one, and so a
// chunk. Growth therefore ends kReserve before the limit, and wholly once that was touched: then
// only shrinking takes chunks. It frees more than it takes, but for the rest of each chunk, less
// than kMostSmall bytes: of all the chunks within the limit of a script, less than two chunks
// together.

namespace sallyport::policy {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPlain = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kPlain = true;
#else
constexpr bool kPlain = false;
#endif
#else
constexpr bool kPlain = false;
#endif

// A state without rules has some 60 KiB.
constexpr size_t kFewBytes = size_t{256} << 10;
constexpr size_t kFirstChunk = size_t{8} << 10;
constexpr size_t kChunk = size_t{64} << 10;
static_assert(LuaMemory::kReserve >= 4 * kChunk);

}  // namespace

LuaMemory::~LuaMemory() {
  while (chunks_ != nullptr) std::free(std::exchange(chunks_, chunks_->next));
}

bool LuaMemory::IsSmall(size_t size) {
  return !kPlain && size <= kMostSmall;
}

void LuaMemory::KeepFree(void* block, size_t steps) {
  free_[steps] = new (block) Link{free_[steps]};
}

void LuaMemory::AddChunk() {
  if (rest_size_ > 0) KeepFree(rest_, rest_size_ / kStep);
  const size_t size = held_ < kFewBytes ? kFirstChunk : kChunk;
  void* chunk = std::malloc(size);
  if (chunk == nullptr) std::abort();
  held_ += size;
  chunks_ = new (chunk) Link{chunks_};
  rest_ = static_cast<char*>(chunk) + sizeof(Link);
  rest_size_ = size - sizeof(Link);
}

void* LuaMemory::TakeSmall(size_t size) {
  const size_t steps = StepsOf(size);
  if (Link* block = free_[steps]; block != nullptr) {
    free_[steps] = block->next;
    return block;
  }
  if (rest_size_ < steps * kStep) AddChunk();
  rest_size_ -= steps * kStep;
  return std::exchange(rest_, rest_ + steps * kStep);
}

void* LuaMemory::Take(size_t size) {
  if (IsSmall(size)) return TakeSmall(size);
  void* block = std::malloc(size);
  if (block == nullptr) std::abort();
  held_ += size;
  return block;
}

void LuaMemory::GiveBack(void* block, size_t size) {
  if (IsSmall(size)) return KeepFree(block, StepsOf(size));
  std::free(block);
  held_ -= size;
}

bool LuaMemory::MayGrow(size_t old_size, size_t new_size) const {
  if (held_ > growth_limit_) return false;
  return IsSmall(new_size) ||
         new_size - (IsSmall(old_size) ? 0 : old_size) <= growth_limit_ - held_;
}

void* LuaMemory::Resize(void* old, size_t old_size, size_t new_size) {
  if (new_size > old_size && !MayGrow(old_size, new_size)) return nullptr;
  if (old_size == 0) return new_size == 0 ? nullptr : Take(new_size);
  if (new_size == 0) {
    GiveBack(old, old_size);
    return nullptr;
  }
  if (IsSmall(old_size) && IsSmall(new_size) && StepsOf(old_size) == StepsOf(new_size)) return old;
  if (!IsSmall(old_size) && !IsSmall(new_size)) {
    void* block = std::realloc(old, new_size);
    if (block == nullptr) std::abort();
    held_ += new_size - old_size;  // Modulo 2^64 where it shrinks.
    return block;
  }
  void* block = Take(new_size);
  std::memcpy(block, old, std::min(old_size, new_size));
  GiveBack(old, old_size);
  return block;
}

}  // namespace sallyport::policy
