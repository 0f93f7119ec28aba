#pragma once

#include <algorithm>
#include <chrono>

#include "base/loop.h"

namespace sallyport::netstack {

/// Lets through so many events a second, and a burst after a pause.
class RateLimit {
 public:
  RateLimit(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  /// Whether an event may happen at NOW, which never goes back.
  bool Allow(Clock::time_point now) {
    const std::chrono::duration<double> passed = now - last_;
    last_ = now;
    tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  const double per_second_;
  const double burst_;
  double tokens_;
  Clock::time_point last_{};
};

}  // namespace sallyport::netstack
