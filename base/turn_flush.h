#pragma once

#include <functional>
#include <utility>

#include "base/loop.h"

namespace sallyport {

/// Runs a function at the end of each turn in which Arm() was called. A registration outlives the
/// turn that asked for it by one, so that what is busy in every turn registers once.
///
/// FLUSH must not destroy the owner. Arm() from inside another turn-end callback may only be served
/// at the end of the next turn.
class TurnFlush {
 public:
  TurnFlush(Loop& loop, std::function<void()> flush) : loop_(loop), flush_(std::move(flush)) {}
  TurnFlush(const TurnFlush&) = delete;
  TurnFlush& operator=(const TurnFlush&) = delete;

  void Arm() {
    wanted_ = true;
    if (!registration_) registration_ = loop_.AtTurnEnd([this] { Run(); });
  }

 private:
  void Run() {
    if (!std::exchange(wanted_, false)) {
      registration_ = {};
      return;
    }
    flush_();
  }

  Loop& loop_;
  std::function<void()> flush_;
  bool wanted_ = false;
  Loop::Handle registration_;
};

}  // namespace sallyport
