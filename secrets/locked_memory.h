#pragma once

#include <cstddef>

#include "base/result.h"

namespace sallyport::secrets {

/// Bytes in pages of their own that are locked, left out of cores (MADV_DONTDUMP), zero in children
/// (MADV_WIPEONFORK) and wiped when they go. For values, and for whatever is computed from them.
class LockedMemory {
 public:
  /// None at all.
  LockedMemory() = default;
  /// SIZE zeros, more than none. kLimit when they can't be locked; kSystem.
  static Result<LockedMemory> Create(size_t size);

  LockedMemory(LockedMemory&&) noexcept;
  LockedMemory& operator=(LockedMemory&&) noexcept;
  ~LockedMemory();

  char* data() { return pages_; }  ///< At the beginning of a page.
  const char* data() const { return pages_; }
  size_t size() const { return size_; }

 private:
  LockedMemory(char* pages, size_t size) : pages_(pages), size_(size) {}
  char* pages_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sallyport::secrets
