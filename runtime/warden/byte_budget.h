#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/loop.h"

namespace sallyport::runtime {

/// So many bytes at once, and so many more in each second.
class ByteBudget {
 public:
  struct Options {
    uint64_t at_once;
    uint64_t per_second;
  };
  ByteBudget(Options options, Clock::time_point now)
      : options_(options), left_(options.at_once * 1000), counted_to_(now) {}

  /// Takes BYTES at NOW, which is not before any earlier one; false where there are not so many.
  bool Take(uint64_t bytes, Clock::time_point now) {
    Refill(now);
    if (bytes * 1000 > left_) return false;
    left_ -= bytes * 1000;
    return true;
  }

 private:
  void Refill(Clock::time_point now) {
    using std::chrono::milliseconds;
    const auto passed = std::chrono::duration_cast<milliseconds>(now - counted_to_);
    if (passed.count() <= 0) return;
    counted_to_ += passed;
    // The bound keeps the product small; what it cuts off is more than any bucket holds.
    const auto counted = static_cast<uint64_t>(std::min<int64_t>(passed.count(), 86'400'000));
    left_ = std::min(options_.at_once * 1000, left_ + counted * options_.per_second);
  }

  const Options options_;
  uint64_t left_;  // In thousandths, so that refilling often loses nothing.
  Clock::time_point counted_to_;
};

}  // namespace sallyport::runtime
