#pragma once

#include <functional>
#include <utility>

#include "base/loop.h"

namespace sallyport::mitm {

/// One deadline that moves often. Moving it later costs nothing: the loop's timer is only set anew
/// when it fires too early, so a busy connection has one timer in many requests.
class Deadline {
 public:
  Deadline(Loop& loop, std::function<void()> expired) : loop_(loop), expired_(std::move(expired)) {}
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  /// EXPIRED is called DELAY after the beginning of this turn, unless the deadline moves.
  void Set(Clock::duration delay) {
    at_ = loop_.now() + delay;
    set_ = true;
    if (!timer_ || timer_at_ > at_) Arm();
  }
  void Clear() { set_ = false; }

 private:
  void Arm() {
    timer_at_ = at_;
    timer_ = loop_.After(at_ - loop_.now(), [this] { Fire(); });
  }
  void Fire() {
    timer_ = {};
    if (!set_) return;
    if (loop_.now() < at_) return Arm();
    set_ = false;
    const auto expired = expired_;  // May destroy this.
    expired();
  }

  Loop& loop_;
  const std::function<void()> expired_;
  bool set_ = false;
  Clock::time_point at_;
  Clock::time_point timer_at_;
  Loop::Handle timer_;
};

}  // namespace sallyport::mitm
