#include "mitm/content/memory.h"

#include <cstdlib>
#include <cstring>

namespace sallyport::mitm::content {
namespace {

// In front of each block stands its size, in as much space as keeps the block aligned.
constexpr size_t kFront = alignof(std::max_align_t);
static_assert(kFront >= sizeof(size_t));

}  // namespace

void* DecoderMemory::Allocate(size_t size) noexcept {
  if (left_ < kFront || size > left_ - kFront) return nullptr;
  const size_t whole = size + kFront;
  auto* block = static_cast<char*>(std::malloc(whole));
  if (block == nullptr) return nullptr;
  std::memcpy(block, &whole, sizeof whole);
  left_ -= whole;
  return block + kFront;
}

void DecoderMemory::Free(void* block) noexcept {
  if (block == nullptr) return;
  char* const front = static_cast<char*>(block) - kFront;
  size_t whole = 0;
  std::memcpy(&whole, front, sizeof whole);
  left_ += whole;
  std::free(front);
}

}  // namespace sallyport::mitm::content
