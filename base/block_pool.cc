#include "base/block_pool.h"

namespace sallyport {
namespace {

// Of each size: more than one turn's streams hold at once, as each hands on what it was given
// before the next has its turn. 1.4 MiB in all. Under AddressSanitizer none, so that it sees who
// looks at a block that is given back.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kKept = 0;
#else
constexpr size_t kKept = 8;
#endif

}  // namespace

BlockPool::~BlockPool() {
  for (const std::vector<uint8_t*>& blocks : kept_) {
    for (uint8_t* block : blocks) delete[] block;
  }
}

BlockPool::Block BlockPool::Take(Size size) {
  std::vector<uint8_t*>& kept = kept_[static_cast<size_t>(size)];
  if (kept.empty()) return {this, size, new uint8_t[BytesOf(size)]};  // Not value-initialised.
  uint8_t* const block = kept.back();
  kept.pop_back();
  return {this, size, block};
}

void BlockPool::GiveBack(Size size, uint8_t* bytes) {
  std::vector<uint8_t*>& kept = kept_[static_cast<size_t>(size)];
  if (kept.size() < kKept) {
    kept.push_back(bytes);
  } else {
    delete[] bytes;
  }
}

size_t BlockPool::kept_bytes() const {
  size_t bytes = 0;
  for (const Size size : {Size::k16KiB, Size::k64KiB, Size::k96KiB}) {
    bytes += kept_[static_cast<size_t>(size)].size() * BytesOf(size);
  }
  return bytes;
}

}  // namespace sallyport
