#pragma once

#include "base/loop.h"

namespace sallyport {

/// A clock that stands still until a test moves it.
class ManualClock final : public TimeSource {
 public:
  Clock::time_point Now() const override { return now_; }
  void Advance(Clock::duration by) { now_ += by; }

 private:
  Clock::time_point now_{std::chrono::hours(1)};
};

}  // namespace sallyport
