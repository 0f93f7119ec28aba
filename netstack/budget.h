#pragma once

#include <cstddef>

#include "base/check.h"

namespace sallyport::netstack {

/// What all flows together may hold in memory.
class Budget {
 public:
  explicit Budget(size_t limit) : limit_(limit) {}

  /// Takes SIZE, or nothing when that would be too much.
  bool Take(size_t size) {
    if (size > limit_ - used_) return false;
    used_ += size;
    return true;
  }
  void Give(size_t size) {
    SALLYPORT_CHECK(size <= used_);
    used_ -= size;
  }

  size_t used() const { return used_; }
  size_t left() const { return limit_ - used_; }
  size_t limit() const { return limit_; }

 private:
  const size_t limit_;
  size_t used_ = 0;
};

}  // namespace sallyport::netstack
