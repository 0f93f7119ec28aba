#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <string>

#include "mitm/limits.h"
#include "tests/mitm/harness.h"

// What everybody sees when a side of the gate stays silent: the guest, the server, and the audit
// log. The clock moves by hand; of HTTP/2 is http2/deadlines_test.cc.

namespace sallyport::mitm {
namespace {

using std::chrono::milliseconds;

/// Takes all that comes, says ANSWER once a head is there, and then nothing until the gate leaves.
class Silent {
 public:
  explicit Silent(std::string answer = "") : answer_(std::move(answer)) {}

  Origin::Handler handler() {
    return [this](Origin::Connection& connection) {
      if (!answer_.empty() && !connection.ReadHead().empty()) connection.Write(answer_);
      while (!connection.Read().empty()) {
      }
      ++left;
    };
  }
  std::atomic<int> left{0};  ///< Connections that the gate has ended.

 private:
  const std::string answer_;
};

/// A gate over a Silent server. PLAIN: the server speaks no TLS, so its handshake never ends.
struct SilentGate : Silent, TestGate {
  explicit SilentGate(std::string answer = "",
                      const TestCertificate* certificate = &ApiCertificate())
      : Silent(std::move(answer)), TestGate(Silent::handler(), certificate) {}

  /// Waits until the server has read something.
  void AwaitRequest() {
    RunUntil([&] { return origin.received() > 0; });
  }
  /// Waits until nothing is left of the guest's connection and the server's.
  void AwaitNothingLeft() {
    RunUntil([&] { return interceptor->connections() == 0; });
    interceptor.reset();  // And with it, what is idle.
    RunUntil([&] { return left == origin.connections(); });
  }
};

void CheckRecord(TestGate& gate, Reason reason, const std::string& detail) {
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().reason == reason);
  CHECK(gate.LastRecord().detail == detail);
}

// --- Before a request ----------------------------------------------------------------------------

TEST_CASE("a guest that sends nothing is reset after the time for its first byte") {
  TestGate gate;
  auto guest = gate.OpenPlain();
  gate.Settle();
  gate.Pass(kFirstByteTimeout, [&] { return guest->broken(); });
  CHECK(gate.interceptor->connections() == 0);
  CheckRecord(gate, Reason::kNotHttp, "the client sent nothing");
}

TEST_CASE("a guest's TLS handshake has one deadline, however busy it looks") {
  TestGate gate;
  auto ends = MemoryStream::Make(*gate.loop, {});
  gate.interceptor->Serve(std::move(ends.a), gate.Flow());
  // A record of 512 bytes that hold the beginning of a ClientHello of as many.
  const std::string hello = std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  REQUIRE(ends.b->Write(hello) == hello.size());
  gate.Settle();
  for (int i = 0; i < 9; ++i) {
    gate.clock.Advance(kGuestHandshakeTimeout / 10);
    REQUIRE(ends.b->Write("x") == 1);
    gate.Settle();
  }
  gate.Pass(kGuestHandshakeTimeout / 10, [&] {
    uint8_t byte;
    return ends.b->Read({&byte, 1}).kind == ReadResult::Kind::kBroken;
  });
  CHECK(gate.interceptor->connections() == 0);
  CheckRecord(gate, Reason::kClientTls, "the TLS handshake took too long");
}

TEST_CASE(
    "a ClientHello that waits for its server's protocol is answered in time, with the choice") {
  SilentGate gate("", nullptr);
  auto guest = gate.Open({.alpn = "\x02h2\x08http/1.1"}, gate.Flow());
  guest->Pump();
  gate.AwaitRequest();
  gate.Pass(kProtocolTimeout, [&] { return guest->up(); });
  CHECK(gate.audit.records.empty());
  guest->Abort();
  gate.AwaitNothingLeft();
}

TEST_CASE("a head must be complete in time, however busily it comes") {
  TestGate gate;
  auto guest = gate.OpenPlain();
  guest->Send("GET / HTTP/1.1\r\nHost: api.test\r\nX-Slow: ");
  gate.Settle();
  for (int i = 0; i < 9; ++i) {
    gate.clock.Advance(kHeadTimeout / 10);
    guest->Send("x");
    gate.Settle();
  }
  gate.Pass(kHeadTimeout / 10, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 408);
  CHECK(Contains(guest->received, "Connection: close\r\n"));
  CHECK(guest->ended());
  CheckRecord(gate, Reason::kBadRequest, "the request's head did not arrive in time");
  gate.Pass(kDrainTimeout, [&] { return gate.interceptor->connections() == 0; });
}

TEST_CASE("empty lines before a head are not a way to stay for ever") {
  TestGate gate;
  auto guest = gate.OpenPlain();
  guest->Send("\r\n");
  gate.Settle();
  gate.clock.Advance(kHeadTimeout - milliseconds(1));
  guest->Send("\r\n");
  gate.Settle();
  gate.clock.Advance(kKeepAliveTimeout);
  gate.Settle();
  CHECK((guest->ended() || guest->broken()));
}

TEST_CASE("a connection between two requests is closed after a while, without a word") {
  for (const bool tls : {false, true}) {
    TestGate gate;
    auto guest = tls ? gate.Open() : gate.OpenPlain();
    if (tls) {
      CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    } else {
      gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
        return policy::FakeEngine::Deny({});
      });
      CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 403);
    }
    gate.Settle();
    gate.Pass(kKeepAliveTimeout, [&] { return guest->ended(); });
    CHECK(gate.interceptor->connections() == 0);
    CHECK(guest->received.empty());
    CHECK_FALSE(guest->broken());
    CHECK(gate.audit.records.size() == 1);
  }
}

TEST_CASE("a guest that asks and never reads is left after a while") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    return policy::FakeEngine::Deny({});
  });
  auto guest = gate.Open({.tls = false}, gate.Flow("api.test", 80), {.capacity = 20'000});
  guest->reading = false;
  for (int i = 0; i < 200; ++i) guest->Send(Get("/"));
  gate.RunUntil([&] { return gate.audit.records.size() > 10; });
  gate.Settle();
  CHECK(gate.interceptor->connections() == 1);
  gate.clock.Advance(kResponseBodyTimeout);
  gate.Settle();
  gate.clock.Advance(kResponseBodyTimeout);
  gate.Settle();
  CHECK(gate.interceptor->connections() == 0);
}

TEST_CASE("a guest that stays after the last answer is not waited for") {
  TestGate gate;
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/", "Connection: close\r\n"))) == 200);
  gate.RunUntil([&] { return guest->ended(); });
  gate.Pass(kDrainTimeout, [&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.audit.records.size() == 1);
}

// --- A request and its answer --------------------------------------------------------------------

TEST_CASE("a server that can't be reached in time is a 504") {
  TestGate gate;
  gate.dialer.hangs = true;
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return gate.dialer.under_way() == 1; });
  gate.Pass(kConnectTimeout, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 504);
  CHECK(gate.dialer.under_way() == 0);
  CheckRecord(gate, Reason::kUpstreamTimeout, "the server could not be connected to in time");
}

TEST_CASE("nobody is told to continue while the server is not there") {
  TestGate gate;
  gate.dialer.hangs = true;
  auto guest = gate.Open();
  guest->Send(
      "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  gate.RunUntil([&] { return gate.dialer.under_way() == 1; });
  gate.Pass(kConnectTimeout, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 504);
  CHECK(Contains(guest->received, "Connection: close\r\n"));
}

TEST_CASE("a server's TLS handshake that never ends is a 504") {
  SilentGate gate("", nullptr);
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.AwaitRequest();
  gate.Pass(kUpstreamHandshakeTimeout, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 504);
  CheckRecord(gate, Reason::kUpstreamTimeout, "the server's TLS handshake took too long");
  guest->CloseWrite();
  gate.AwaitNothingLeft();
}

TEST_CASE("a server that does not answer is a 504") {
  SilentGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.AwaitRequest();
  gate.Pass(kResponseHeadTimeout, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 504);
  CheckRecord(gate, Reason::kUpstreamTimeout, "the server did not answer in time");
  CHECK(gate.LastRecord().duration == kResponseHeadTimeout);
  guest->CloseWrite();
  gate.AwaitNothingLeft();
}

TEST_CASE("interim answers do not put a server's deadline off") {
  std::promise<void> now;
  TestGate gate([go = now.get_future().share()](Origin::Connection& connection) {
    connection.ReadHead();
    go.wait();
    connection.Write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    connection.Read();
  });
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return gate.origin.received() > 0; });
  gate.clock.Advance(kResponseHeadTimeout - milliseconds(1));
  now.set_value();
  gate.RunUntil([&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 103);
  gate.Pass(milliseconds(1), [&] { return Contains(guest->received, "HTTP/1.1 504 "); });
}

TEST_CASE("a server has its whole time after a request's body that ended late") {
  SilentGate gate;
  auto guest = gate.Open();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  gate.AwaitRequest();
  gate.Settle();
  gate.clock.Advance(milliseconds(1));
  guest->Send("0\r\n\r\n");
  gate.Settle();
  gate.Pass(kResponseHeadTimeout, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 504);
  CheckRecord(gate, Reason::kUpstreamTimeout, "the server did not answer in time");
}

TEST_CASE("a request's body that does not come is a 408, after the gate said to continue or not") {
  for (const bool expects : {false, true}) {
    SilentGate gate;
    auto guest = gate.Open();
    guest->Send(std::string("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n") +
                (expects ? "Expect: 100-continue\r\n" : "") + "\r\n");
    gate.AwaitRequest();
    gate.Settle();
    CHECK(StatusOf(guest->received) == (expects ? 100 : 0));
    if (!expects) {  // What comes puts it off.
      gate.clock.Advance(kRequestBodyTimeout - milliseconds(1));
      guest->Send("a");
      gate.Settle();
    }
    gate.Pass(kRequestBodyTimeout, [&] { return Contains(guest->received, "HTTP/1.1 408 "); });
    CHECK(Contains(guest->received, "Connection: close\r\n"));
    CheckRecord(gate, Reason::kBadRequest, "the request's body did not arrive in time");
    guest->CloseWrite();
    gate.AwaitNothingLeft();
  }
}

TEST_CASE("a server that does not take a request's body is a 504") {
  std::promise<void> over;
  TestGate gate(
      [ended = over.get_future().share()](Origin::Connection& connection) {
        connection.ReadHead();
        ended.wait();
      },
      nullptr);
  auto guest = gate.OpenPlain();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000000000\r\n\r\n");
  gate.RunUntil([&] { return gate.origin.received() > 0; });
  for (int full = 0; full < 50; ++full) {  // Until no socket on the way takes any more.
    if (guest->unsent() == 0) {
      guest->Send(std::string(64 * 1024, 'x'));
      full = 0;
    }
    REQUIRE(gate.loop->RunOnce());
  }
  gate.Pass(kResponseHeadTimeout, [&] { return !guest->received.empty(); });
  CHECK(StatusOf(guest->received) == 504);
  CheckRecord(gate, Reason::kUpstreamTimeout, "the server did not take the request in time");
  over.set_value();
}

TEST_CASE("an answer that stalls is cut off, never ended as if it were whole") {
  for (const char* framing : {"Content-Length: 100", "Transfer-Encoding: chunked"}) {
    SilentGate gate(std::string("HTTP/1.1 200 OK\r\n") + framing + "\r\n\r\n3\r\nabc\r\n");
    auto guest = gate.Open();
    guest->Send(Get("/"));
    gate.RunUntil([&] { return Contains(guest->received, "abc"); });
    gate.Pass(kResponseBodyTimeout, [&] { return guest->broken(); });
    CHECK_FALSE(guest->ended());
    CheckRecord(gate, Reason::kUpstreamTimeout, "the answer stalled");
    gate.AwaitNothingLeft();
  }
}

TEST_CASE("an answer that the guest does not take is cut off, and its server let go") {
  SilentGate gate(std::string("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n") +
                  std::string(1 << 20, 'x'));
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return Contains(guest->received, "200 OK"); });
  guest->reading = false;
  for (int i = 0; i < 100; ++i) REQUIRE(gate.loop->RunOnce());
  gate.Pass(kResponseBodyTimeout, [&] { return gate.interceptor->connections() == 0; });
  CheckRecord(gate, Reason::kUpstreamTimeout, "the answer stalled");
  gate.AwaitNothingLeft();
}

TEST_CASE("an answer made here that the guest does not take ends its connection") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    policy::RequestVerdict verdict;
    verdict.action = policy::RequestVerdict::Action::kRespond;
    verdict.response = {.status = 200, .reason = "OK", .headers = {}};
    verdict.response_body = std::string(1 << 20, 'x');
    return verdict;
  });
  auto guest = gate.OpenPlain();
  guest->reading = false;
  guest->Send(Get("/"));
  gate.Settle();
  gate.Pass(kResponseBodyTimeout, [&] { return gate.interceptor->connections() == 0; });
  CheckRecord(gate, Reason::kAllowed, "the client did not take the answer");
}

TEST_CASE("an idle connection to a server is closed after a while") {
  SilentGate gate("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  gate.Settle();
  gate.clock.Advance(kUpstreamIdleTimeout - milliseconds(1));
  gate.Settle();
  CHECK(gate.left == 0);
  gate.clock.Advance(milliseconds(1));
  gate.RunUntil([&] { return gate.left == 1; });
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  CHECK(gate.origin.connections() == 2);
}

}  // namespace
}  // namespace sallyport::mitm
