#include "base/loop.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>

#include "tests/fakes/manual_clock.h"

namespace sallyport {
namespace {

using namespace std::chrono_literals;

struct Pair {
  Pair() {
    std::array<int, 2> fds;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    ours = UniqueFd(fds[0]);
    theirs = UniqueFd(fds[1]);
  }
  UniqueFd ours, theirs;
};

TEST_CASE("a loop with nothing registered has nothing to do") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  CHECK(*loop.RunOnce() == false);
}

TEST_CASE("a callback may end another registration that is ready in the same batch") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  Pair a, b;
  Loop::Handle first, second;
  int calls = 0;
  first = *loop.Watch(a.ours.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    second = {};
    first = {};
  });
  second = *loop.Watch(b.ours.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    first = {};
    second = {};
  });
  REQUIRE(write(a.theirs.get(), "x", 1) == 1);
  REQUIRE(write(b.theirs.get(), "x", 1) == 1);
  CHECK(*loop.RunOnce());
  CHECK(calls == 1);
  CHECK(*loop.RunOnce() == false);
}

TEST_CASE("a timer runs in time behind a later one that was waited for, and behind an earlier one that ended") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  auto far = loop.After(1h, [] {});
  auto posted = loop.Post([] {});
  CHECK(*loop.RunOnce());  // The next wait is for the far one ...
  Pair pair;
  auto watched = *loop.Watch(pair.ours.get(), EPOLLIN, [](uint32_t) {});
  REQUIRE(write(pair.theirs.get(), "x", 1) == 1);
  CHECK(*loop.RunOnce());
  watched = {};

  bool ran = false;
  auto near = loop.After(2ms, [&] { ran = true; });
  auto nearest = loop.After(1ms, [] {});
  auto again = loop.Post([] {});
  CHECK(*loop.RunOnce());
  nearest = {};  // ... and what was to ring first is gone.
  while (!ran) CHECK(*loop.RunOnce());
}

TEST_CASE("timers run in order, and a destroyed timer never runs") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  std::string order;
  auto late = loop.After(2ms, [&] { order += 'b'; });
  auto early = loop.After(1ms, [&] { order += 'a'; });
  {
    auto gone = loop.After(0ms, [&] { order += 'x'; });
  }
  while (*loop.RunOnce()) {
  }
  CHECK(order == "ab");
}

TEST_CASE("a loop with a time of its own runs timers when that has come, and not before") {
  ManualClock clock;
  auto owner = *Loop::Create(&clock);
  Loop& loop = *owner;
  CHECK(loop.now() == clock.Now());
  std::string order;
  auto hours = loop.After(2h, [&] { order += 'h'; });
  auto second = loop.After(1s, [&] { order += 's'; });
  clock.Advance(1s - 1ns);
  REQUIRE(*loop.RunOnce());
  CHECK(order.empty());
  clock.Advance(1ns);
  REQUIRE(*loop.RunOnce());
  CHECK(order == "s");
  CHECK(loop.now() == clock.Now());
  clock.Advance(24h);
  REQUIRE(*loop.RunOnce());
  CHECK(order == "sh");
  CHECK(*loop.RunOnce() == false);
}

TEST_CASE("a loop with a time of its own waits for descriptors, but does not sleep on them") {
  ManualClock clock;
  auto owner = *Loop::Create(&clock);
  Loop& loop = *owner;
  Pair pair;
  int calls = 0;
  auto watch = *loop.Watch(pair.ours.get(), EPOLLIN, [&](uint32_t) { ++calls; });
  REQUIRE(*loop.RunOnce());
  CHECK(calls == 0);
  REQUIRE(write(pair.theirs.get(), "x", 1) == 1);
  REQUIRE(*loop.RunOnce());
  CHECK(calls == 1);
}

TEST_CASE("posted work runs once, in order, and what it posts waits for the next turn") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  std::string order;
  Loop::Handle again;
  auto first = loop.Post([&] {
    order += 'a';
    again = loop.Post([&] { order += 'c'; });
  });
  auto gone = loop.Post([&] { order += 'x'; });
  auto second = loop.Post([&] { order += 'b'; });
  gone = {};
  CHECK(order.empty());
  REQUIRE(*loop.RunOnce());
  CHECK(order == "ab");
  REQUIRE(*loop.RunOnce());
  CHECK(order == "abc");
  CHECK(*loop.RunOnce() == false);
}

TEST_CASE("posted work may end posted work that follows it") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  int calls = 0;
  Loop::Handle second;
  auto first = loop.Post([&] { second = {}; });
  second = loop.Post([&] { ++calls; });
  REQUIRE(*loop.RunOnce());
  CHECK(calls == 0);
}

TEST_CASE("the end of a turn comes after its timers and posted work, and may end itself") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  std::string order;
  Loop::Handle end;
  end = loop.AtTurnEnd([&] {
    order += 'e';
    end = {};
  });
  auto posted = loop.Post([&] { order += 'p'; });
  auto timer = loop.After(0ms, [&] { order += 't'; });
  REQUIRE(*loop.RunOnce());
  CHECK(order == "tpe");
  CHECK(*loop.RunOnce() == false);
}

TEST_CASE("what comes before a wait sees what a turn's end left, and what was left outside of turns") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  int left = 0, done = 0;
  const auto before = loop.BeforeWait([&] { done = left; });
  const auto end = loop.AtTurnEnd([&] { ++left; });
  left = 10;
  auto first = loop.Post([] {});
  CHECK(*loop.RunOnce());
  CHECK(done == 10);
  CHECK(left == 11);
  CHECK(*loop.RunOnce() == false);  // Nothing to wait for; what was left is done nevertheless.
  CHECK(done == 11);
}

TEST_CASE("what comes before a wait does not any more once its handle is gone") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  int calls = 0;
  Loop::Handle ending;
  ending = loop.BeforeWait([&] {
    ++calls;
    ending = {};
  });
  auto other = loop.BeforeWait([&] { ++calls; });
  auto first = loop.Post([] {});
  CHECK(*loop.RunOnce());
  CHECK(calls == 2);
  other = {};
  auto second = loop.Post([] {});
  CHECK(*loop.RunOnce());
  CHECK(calls == 2);
}

TEST_CASE("an edge-triggered descriptor is reported once for what arrived") {
  auto owner = *Loop::Create();
  Loop& loop = *owner;
  Pair pair;
  int calls = 0;
  auto watch = *loop.Watch(pair.ours.get(), EPOLLIN | EPOLLET, [&](uint32_t) { ++calls; });
  REQUIRE(write(pair.theirs.get(), "x", 1) == 1);
  REQUIRE(*loop.RunOnce());
  auto tick = loop.Post([] {});
  REQUIRE(*loop.RunOnce());
  CHECK(calls == 1);
}

}  // namespace
}  // namespace sallyport
