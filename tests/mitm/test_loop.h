#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "base/loop.h"
#include "tests/fakes/manual_clock.h"

namespace sallyport::mitm {

/// A loop whose clock stands still until a test moves it, so that no deadline ends a test that is
/// slow, and one that is waited for costs no time.
struct TestLoop {
  /// Runs turns until DONE; fails the test when that takes too long.
  void RunUntil(const std::function<bool()>& done) {
    const auto turn = loop->Post([] {});  // Tests act between turns.
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    while (!done()) {
      REQUIRE(Clock::now() < deadline);
      REQUIRE(loop->RunOnce());
    }
  }
  /// Enough turns for all that waits for neither a server nor the clock.
  void Settle() {
    for (int i = 0; i < 30; ++i) REQUIRE(loop->RunOnce());
  }
  /// Lets LIMIT pass, after which something must be OVER that was not just before.
  void Pass(Clock::duration limit, const std::function<bool()>& over) {
    clock.Advance(limit - std::chrono::milliseconds(1));
    Settle();
    CHECK_FALSE(over());
    clock.Advance(std::chrono::milliseconds(1));
    Settle();
    CHECK(over());
  }

  ManualClock clock;
  std::unique_ptr<Loop> loop = std::move(*Loop::Create(&clock));
};

}  // namespace sallyport::mitm
