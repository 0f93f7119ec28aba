#include <nghttp2/nghttp2.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>

#include "mitm/limits.h"
#include "tests/mitm/http2/harness.h"

// What a guest of HTTP/2 sees when somebody stays silent. The clock moves by hand; the server's
// side is in upstream_deadlines_test.cc.

namespace sallyport::mitm::http2 {
namespace {

using std::chrono::milliseconds;

/// Reads whatever comes and never answers.
void NeverAnswer(Origin::Connection& connection) {
  while (!connection.Read().empty()) {
  }
}

std::function<bool()> Over(TestSessions::Connection& guest) {
  return [&guest] { return guest.session == nullptr; };
}

/// A session whose guest sends nothing by itself.
struct Mute final : Session::Owner {
  explicit Mute(TestSessions& gate) : flow(gate.gate, TestSessions::Flow()) {
    auto ends = MemoryStream::Make(*gate.loop, {});
    stream = std::move(ends.a);
    peer = std::move(ends.b);
    session = std::make_unique<Session>(flow, *stream, "", *this);
    session->Run();
  }
  void OnSessionOver() override { session.reset(); }
  void Send(const std::string& bytes) { REQUIRE(peer->Write(bytes) == bytes.size()); }
  std::string Take() {
    std::array<uint8_t, 4096> block;
    const ReadResult read = peer->Read(block);
    return {reinterpret_cast<char*>(block.data()), read.bytes};
  }

  FlowContext flow;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Stream> peer;
  std::unique_ptr<Session> session;
};

TEST_CASE("a guest that agreed on HTTP/2 and says nothing gets a GOAWAY, then the end") {
  TestSessions gate;
  Mute guest(gate);
  gate.Settle();
  (void)guest.Take();
  gate.Pass(kHeadTimeout, [&, seen = std::string()]() mutable {
    seen += guest.Take();
    return seen.find(Frame(kGoawayFrame, 0, 0, std::string(8, '\0'))) != std::string::npos;
  });
  gate.Pass(kDrainTimeout, [&] { return guest.session == nullptr; });
  CHECK(gate.audit.records.empty());
}

TEST_CASE("a head in pieces must be complete in time, whatever else is sent") {
  TestSessions gate;
  Mute guest(gate);
  guest.Send(Preface() + Frame(kHeadersFrame, kEndStream, 1, Literals(Asking())));
  gate.Settle();
  for (int i = 0; i < 2; ++i) {
    gate.clock.Advance(kHeadTimeout / 3);
    guest.Send(Frame(kContinuationFrame, 0, 1, Literals({{"x-more", "x"}})));
    gate.Settle();
  }
  gate.Pass(kHeadTimeout / 3, [&] { return !gate.audit.records.empty(); });
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.audit.records[0].reason == Reason::kBadRequest);
  CHECK(gate.audit.records[0].detail == "the request's head did not arrive in time");
  gate.Pass(kDrainTimeout, [&] { return guest.session == nullptr; });
}

TEST_CASE("a connection without requests ends after a while, and pings do not keep it") {
  TestSessions gate;
  gate.Deny();
  auto guest = gate.Open();
  CHECK(gate.Await(*guest, guest->client.Get("/")).status == 403);
  gate.Settle();
  gate.clock.Advance(kKeepAliveTimeout / 2);
  guest->client.Raw(Frame(kPingFrame, 0, 0, "12345678"));
  gate.Settle();
  gate.Pass(kKeepAliveTimeout - kKeepAliveTimeout / 2, [&] { return guest->client.goaway; });
  CHECK(guest->client.goaway_code == NGHTTP2_NO_ERROR);
  CHECK(guest->client.ended);
  gate.Pass(kDrainTimeout, Over(*guest));
  CHECK(gate.audit.records.size() == 1);
}

TEST_CASE("a request's body that does not come is a 408 on its stream, and others go on") {
  TestSessions gate(NeverAnswer);
  auto guest = gate.Open();
  const int32_t late = guest->client.Post("/late");
  gate.RunUntil([&] { return gate.origin.received() > 0; });
  gate.clock.Advance(milliseconds(1));
  const int32_t other = guest->client.Post("/other");
  gate.RunUntil([&] { return gate.origin.connections() == 2; });
  gate.Settle();
  gate.clock.Advance(kRequestBodyTimeout - milliseconds(2));
  guest->client.More(other, "more");
  gate.Settle();
  CHECK_FALSE(guest->client.answer(late).headed);
  gate.clock.Advance(milliseconds(1));
  gate.Settle();
  CHECK(guest->client.answer(late).status == 408);
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.audit.records[0].detail == "the request's body did not arrive in time");
  // A guest that is still sending has a while to read that before its stream is reset.
  gate.Pass(kDrainTimeout, [&] { return guest->client.Has(late); });
  CHECK_FALSE(guest->client.answer(other).headed);
  CHECK(gate.audit.records.size() == 1);
  CHECK(gate.gate.streams == 1);
}

TEST_CASE("a server has its whole time after an END_STREAM that came late") {
  TestSessions gate(NeverAnswer);
  auto guest = gate.Open();
  const int32_t id = guest->client.Post("/");
  guest->client.More(id, "body");
  gate.RunUntil([&] { return gate.origin.received() > 0; });
  gate.Settle();
  gate.clock.Advance(milliseconds(1));
  guest->client.Finish(id);
  gate.Settle();
  gate.Pass(kResponseHeadTimeout, [&] { return guest->client.answer(id).headed; });
  CHECK(guest->client.answer(id).status == 504);
  CHECK(gate.audit.records.at(0).detail == "the server did not answer in time");
}

TEST_CASE("an answer that stalls resets its stream, and no other") {
  TestSessions gate([](Origin::Connection& connection) {
    const bool stalls = connection.ReadHead().starts_with("GET /stalls ");
    if (stalls) connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    NeverAnswer(connection);
  });
  auto guest = gate.Open();
  const int32_t id = guest->client.Get("/stalls");
  gate.RunUntil([&] { return guest->client.answer(id).body == "abc"; });
  gate.clock.Advance(kResponseBodyTimeout - kResponseHeadTimeout + milliseconds(1));
  const int32_t other = guest->client.Get("/");
  gate.RunUntil([&] { return gate.origin.connections() == 2; });
  gate.Settle();
  gate.Pass(kResponseHeadTimeout - milliseconds(1), [&] { return guest->client.Has(id); });
  CHECK(guest->client.answer(id).code != NGHTTP2_NO_ERROR);
  CHECK_FALSE(guest->client.Has(other));
  CHECK_FALSE(guest->client.goaway);
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.audit.records[0].detail == "the answer stalled");
}

TEST_CASE("a guest that opens no window for the rest of its answer has its stream reset") {
  TestSessions gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    policy::RequestVerdict verdict;
    verdict.action = policy::RequestVerdict::Action::kRespond;
    verdict.response = {.status = 200, .reason = "OK", .headers = {}};
    verdict.response_body = std::string(1000, 'x');
    return verdict;
  });
  auto guest = gate.Open({.opens_windows = false, .window = 100});
  const int32_t id = guest->client.Get("/");
  gate.RunUntil([&] { return guest->client.answer(id).body.size() == 100; });
  CHECK(gate.audit.records.size() == 1);  // The exchange is over; its delivery is not.
  gate.Pass(kResponseBodyTimeout, [&] { return guest->client.Has(id); });
  CHECK(guest->client.answer(id).code == NGHTTP2_CANCEL);
  CHECK(gate.gate.streams == 0);
}

}  // namespace
}  // namespace sallyport::mitm::http2
