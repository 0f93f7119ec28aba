#include "mitm/http2/shared_upstreams.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <list>
#include <map>

#include "mitm/limits.h"
#include "tests/fakes/manual_clock.h"
#include "tests/fakes/memory_stream.h"
#include "tests/mitm/http2/http2_server.h"
#include "tests/mitm/http2/upstream_wire.h"

namespace sallyport::mitm::http2 {
namespace {

using Connected = UpstreamPool::Connected;

/// A server at the other end of a stream in memory.
struct Far final : Stream::Listener {
  Far(std::unique_ptr<Stream> end, Http2Server::Options options)
      : stream(std::move(end)), server(options, nullptr) {
    stream->SetListener(this);
  }
  void OnStreamReady() override {
    uint8_t block[65536];
    const ReadResult result = stream->Read(block);
    if (result.kind == ReadResult::Kind::kBytes) {
      CHECK(server.Feed({reinterpret_cast<char*>(block), result.bytes}));
    } else if (result.kind != ReadResult::Kind::kWouldBlock) {
      closed = true;
    }
    stream->Write(server.Take());
  }
  std::unique_ptr<Stream> stream;
  Http2Server server;
  bool closed = false;
};

/// Somebody who asked for a connection, and opens an exchange at once when it is shared.
struct Caller final : UpstreamSide::Listener {
  void OnUpstreamReady() override {}
  void OnConnected(Connected connected) {
    ++called;
    refusal = connected.refusal;
    connection = std::move(connected.connection);
    if (connection && connection->shared != nullptr) {
      side = connection->shared->Open(*this);
      side->WriteHead(Head(), "api.test", {});
    }
  }
  bool http1() const { return connection && connection->shared == nullptr; }

  int called = 0;
  Refusal refusal;
  std::unique_ptr<mitm::UpstreamConnection> connection;
  std::unique_ptr<UpstreamSide> side;
  Pending pending;
};

struct Town {
  struct Attempt {
    std::string key;
    SharedUpstreams::Done done;
  };

  Town()
      : loop(std::move(*Loop::Create(&clock))),
        shared(std::make_unique<SharedUpstreams>(
            *loop,
            [this](const UpstreamTarget&, const std::string& key, SharedUpstreams::Done done) {
              ++dialed;
              const auto attempt = attempts.insert(attempts.end(), {key, std::move(done)});
              attempt_of[&*attempt] = true;
              return Pending([this, address = &*attempt] {
                if (attempt_of.erase(address) == 0) return;
                attempts.remove_if([address](const Attempt& a) { return &a == address; });
              });
            })) {}
  ~Town() {
    callers.clear();
    shared.reset();
  }

  static UpstreamTarget Target(const std::string& name) {
    return {.destination = {.host = *HostName::Parse(name),
                            .port = 443,
                            .filter = {},
                            .chosen_by_user = false},
            .tls = true,
            .identity = *HostName::Parse(name),
            .verification = {}};
  }
  Caller& Ask(const std::string& name = "api.test") {
    Caller& caller = callers.emplace_back();
    caller.pending = shared->Open(Target(name), name, [&caller](Connected connected) {
      caller.OnConnected(std::move(connected));
    });
    return caller;
  }
  SharedUpstreams::Done TakeAttempt() {
    REQUIRE_FALSE(attempts.empty());
    const auto done = attempts.front().done;
    attempt_of.erase(&attempts.front());
    attempts.pop_front();
    return done;
  }
  void Succeed(Protocol protocol, Http2Server::Options options = {}) {
    const auto done = TakeAttempt();
    auto ends = MemoryStream::Make(*loop, {.capacity = 1 << 20});
    if (protocol == Protocol::kHttp2) far.emplace_back(std::move(ends.b), options);
    auto connection = std::make_unique<mitm::UpstreamConnection>();
    connection->stream = std::move(ends.a);
    connection->protocol = protocol;
    done({.connection = std::move(connection), .refusal = {}, .address = {}});
    Settle();
  }
  void Fail() {
    const auto done = TakeAttempt();
    done({.connection = nullptr,
          .refusal = {.reason = Reason::kUpstreamRefused,
                      .status = 502,
                      .detail = "no",
                      .rule = {},
                      .how_to_allow = {}},
          .address = {}});
    Settle();
  }
  void Settle() {
    for (int i = 0; i < 10; ++i) {
      const auto tick = loop->Post([] {});
      REQUIRE(loop->RunOnce());
    }
  }

  ManualClock clock;
  std::unique_ptr<Loop> loop;
  int dialed = 0;
  std::list<Attempt> attempts;
  std::map<const Attempt*, bool> attempt_of;
  std::list<Far> far;
  std::unique_ptr<SharedUpstreams> shared;
  std::list<Caller> callers;
};

TEST_CASE("requests that come together share one attempt and one connection") {
  Town town;
  for (int i = 0; i < 5; ++i) town.Ask();
  town.Settle();
  CHECK(town.dialed == 1);
  town.Succeed(Protocol::kHttp2);
  CHECK(town.dialed == 1);
  CHECK(town.shared->connections() == 1);
  for (const Caller& caller : town.callers) {
    CHECK(caller.called == 1);
    CHECK(caller.side != nullptr);
  }
  CHECK(town.shared->Learnt("api.test") == Protocol::kHttp2);
  CHECK(town.shared->Take("api.test") != nullptr);
  CHECK(town.shared->Take("other.test") == nullptr);
}

TEST_CASE("another target's requests are connected for themselves") {
  Town town;
  town.Ask("one.test");
  town.Ask("two.test");
  town.Settle();
  CHECK(town.dialed == 2);
  CHECK(town.attempts.front().key == "one.test");
  town.Succeed(Protocol::kHttp2);
  CHECK(town.callers.front().called == 1);
  CHECK(town.callers.back().called == 0);
  CHECK(town.shared->Take("two.test") == nullptr);
}

TEST_CASE("a server that speaks HTTP/1.1 gives each request a connection of its own") {
  Town town;
  for (int i = 0; i < 3; ++i) town.Ask();
  town.Settle();
  CHECK(town.dialed == 1);
  town.Succeed(Protocol::kHttp1);
  CHECK(town.callers.front().http1());
  CHECK(town.dialed == 3);
  town.Succeed(Protocol::kHttp1);
  town.Succeed(Protocol::kHttp1);
  for (const Caller& caller : town.callers) CHECK(caller.http1());
  SECTION("and nobody waits for another one from then on") {
    town.Ask();
    town.Ask();
    CHECK(town.dialed == 5);
    CHECK(town.shared->connections() == 0);
  }
  SECTION("until it speaks HTTP/2") {
    Caller& late = town.Ask();
    town.Succeed(Protocol::kHttp2);
    CHECK(late.side != nullptr);
    CHECK(town.shared->Learnt("api.test") == Protocol::kHttp2);
    const Caller& later = town.Ask();
    town.Settle();
    CHECK(later.side != nullptr);
    CHECK(town.dialed == 4);
  }
}

TEST_CASE("an attempt that fails tells everybody who waited, and nobody after") {
  Town town;
  for (int i = 0; i < 3; ++i) town.Ask();
  town.Settle();
  town.Fail();
  for (const Caller& caller : town.callers) {
    CHECK(caller.called == 1);
    CHECK(caller.refusal.reason == Reason::kUpstreamRefused);
  }
  CHECK_FALSE(town.shared->Learnt("api.test").has_value());
  town.Ask();
  town.Settle();
  CHECK(town.dialed == 2);
}

TEST_CASE("a refused request may ask again at once") {
  Town town;
  Caller& first = town.Ask();
  Caller again;
  Pending second;
  first.pending = town.shared->Open(Town::Target("api.test"), "api.test", [&](Connected) {
    second = town.shared->Open(Town::Target("api.test"), "api.test",
                               [&](Connected c) { again.OnConnected(std::move(c)); });
  });
  town.Settle();
  town.Fail();
  CHECK(again.called == 0);
  CHECK(town.dialed == 2);
  town.Succeed(Protocol::kHttp2);
  CHECK(again.side != nullptr);
}

TEST_CASE("an attempt that nobody waits for any more is given up") {
  Town town;
  Caller& one = town.Ask();
  Caller& two = town.Ask();
  town.Settle();
  one.pending = {};
  town.Settle();
  CHECK(town.attempts.size() == 1);
  two.pending = {};
  town.Settle();
  CHECK(town.attempts.empty());
  CHECK(one.called + two.called == 0);
}

TEST_CASE("full connections get company, up to a bound, and then requests wait") {
  Town town;
  const Http2Server::Options narrow{.max_streams = 1};
  for (int i = 0; i < 6; ++i) town.Ask();
  town.Settle();
  for (size_t i = 0; i < kMaxSharedPerTarget; ++i) {
    REQUIRE(town.attempts.size() == 1);
    town.Succeed(Protocol::kHttp2, narrow);
  }
  CHECK(town.attempts.empty());
  CHECK(town.shared->connections() == kMaxSharedPerTarget);
  const auto served = [&] {
    return std::count_if(town.callers.begin(), town.callers.end(),
                         [](const Caller& caller) { return caller.side != nullptr; });
  };
  CHECK(served() == 4);
  // Who comes later does not overtake those who wait.
  town.callers.front().side.reset();
  CHECK(town.shared->Take("api.test") == nullptr);
  town.Settle();
  CHECK(served() == 4);
  CHECK(std::next(town.callers.begin(), 4)->side != nullptr);
}

TEST_CASE("a request that finds no room in time is told so, and the others go on waiting") {
  Town town;
  const Http2Server::Options narrow{.max_streams = 1};
  for (size_t i = 0; i < kMaxSharedPerTarget; ++i) {
    town.Ask();
    town.Settle();
    town.Succeed(Protocol::kHttp2, narrow);
  }
  const Caller& first = town.Ask();
  town.clock.Advance(std::chrono::milliseconds(1));
  town.Settle();
  Caller& second = town.Ask();
  town.clock.Advance(kUpstreamRoomTimeout - std::chrono::milliseconds(1));
  town.Settle();
  CHECK(first.called == 1);
  CHECK(first.refusal.reason == Reason::kLimit);
  CHECK(first.refusal.status == 503);
  CHECK(second.called == 0);
  town.callers.front().side.reset();  // Its server said nothing, so another one takes its place.
  town.Settle();
  town.Succeed(Protocol::kHttp2, narrow);
  CHECK(second.side != nullptr);
  town.clock.Advance(kUpstreamRoomTimeout);
  town.Settle();
  CHECK(second.called == 1);
}

TEST_CASE("a connection that ended is not handed out") {
  Town town;
  town.Ask();
  town.Settle();
  town.Succeed(Protocol::kHttp2);
  town.callers.clear();
  SECTION("by the server's goodbye") {
    town.far.front().server.GoAway(0, NGHTTP2_NO_ERROR);
    town.far.front().OnStreamReady();
  }
  SECTION("by a reset") {
    town.far.front().stream->Abort();
  }
  SECTION("by its end") {
    town.far.front().stream->CloseWrite();
  }
  town.Settle();
  CHECK(town.shared->Take("api.test") == nullptr);
  CHECK(town.shared->connections() == 0);
  CHECK(town.shared->Learnt("api.test") == Protocol::kHttp2);
}

TEST_CASE("it may be destroyed at any moment") {
  for (int moment = 0; moment < 4; ++moment) {
    Town town;
    town.Ask();
    town.Ask("other.test");
    if (moment > 0) town.Settle();
    if (moment > 1) town.Succeed(Protocol::kHttp2);
    if (moment > 2) town.Succeed(Protocol::kHttp1);
  }
}

}  // namespace
}  // namespace sallyport::mitm::http2
