#include <catch2/catch.hpp>
#include <string>

#include "mitm/guest_tls.h"
#include "tests/mitm/http2/http2_origin.h"

// Which protocol a guest is offered: the one that its upstream speaks.

namespace sallyport::mitm::http2 {
namespace {

const std::string kOnlyHttp2 = "\x02h2";

/// A gate over an origin that speaks what ALPN says.
struct ProtocolGate : TestGate {
  explicit ProtocolGate(const std::string& alpn, Origin::Handler handler = Http2Origin())
      : TestGate(std::move(handler), &ApiCertificate(), alpn) {}

  std::unique_ptr<GuestClient> Begin(const std::string& alpn, HttpFlow flow,
                                     MemoryStream::Options wire = {}) {
    auto guest = Open({.alpn = alpn}, std::move(flow), wire);
    guest->Pump();
    return guest;
  }
  /// What a guest that offers ALPN, over FLOW, ends up with.
  std::string Agree(const std::string& alpn, HttpFlow flow, MemoryStream::Options wire = {}) {
    const auto guest = Begin(alpn, std::move(flow), wire);
    RunUntil([&] { return guest->up() || !guest->failure().empty(); });
    CHECK(guest->failure().empty());
    return AlpnOf(guest->ssl());
  }
  std::string Agree(const std::string& alpn) { return Agree(alpn, Flow()); }
};

TEST_CASE("a guest is offered HTTP/2 if its upstream speaks it, which is asked once") {
  ProtocolGate gate(kSpeaksBoth);
  CHECK(gate.Agree(kSpeaksBoth) == "h2");
  CHECK(gate.dialer.dialed.size() == 1);
  for (int i = 0; i < 3; ++i) CHECK(gate.Agree(kSpeaksBoth) == "h2");
  CHECK(gate.dialer.dialed.size() == 1);
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("a guest is offered HTTP/1.1 alone if its upstream speaks nothing else") {
  const bool knows_alpn = GENERATE(true, false);
  ProtocolGate gate(knows_alpn ? kSpeaksHttp1 : std::string());
  auto guest = gate.Begin(kSpeaksBoth, gate.Flow());
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  CHECK(AlpnOf(guest->ssl()) == "http/1.1");
  // The first request went over the connection that was made to ask.
  CHECK(gate.origin.connections() == 1);
  CHECK(gate.LastRecord().allowed);
  CHECK(gate.Agree(kSpeaksBoth) == "http/1.1");
  CHECK(gate.dialer.dialed.size() == 1);
}

TEST_CASE("guests that come together ask once") {
  ProtocolGate gate(kSpeaksBoth);
  std::vector<std::unique_ptr<GuestClient>> guests;
  for (int i = 0; i < 5; ++i) guests.push_back(gate.Begin(kSpeaksBoth, gate.Flow()));
  for (const auto& guest : guests) {
    gate.RunUntil([&] { return guest->up(); });
    CHECK(AlpnOf(guest->ssl()) == "h2");
  }
  CHECK(gate.dialer.dialed.size() == 1);
}

TEST_CASE("nothing is dialled for a guest that leaves no choice") {
  ProtocolGate gate(kSpeaksBoth);
  CHECK(gate.Agree(kSpeaksHttp1) == "http/1.1");
  CHECK(gate.Agree("") == "");
  CHECK(gate.Agree(kOnlyHttp2) == "h2");
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("nothing is dialled for a guest whose requests will all be refused") {
  ProtocolGate gate(kSpeaksBoth);
  HttpFlow flow = gate.Flow();
  SECTION("as its name was not granted") {
    flow.refusal = Refusal{.reason = Reason::kNameNotGranted,
                           .status = 403,
                           .detail = "no",
                           .rule = {},
                           .how_to_allow = {}};
  }
  SECTION("without a grant for requests") {
    flow.verdict.http = nullptr;
  }
  SECTION("while the audit log can't be written") {
    gate.audit.is_healthy = false;
  }
  SECTION("as its server name is another one") {
    flow.facts.name = *HostName::Parse("not.test");
  }
  CHECK(gate.Agree(kSpeaksBoth, flow) == "h2");
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("a guest is offered both if its upstream fails, and may read why") {
  ProtocolGate gate(kSpeaksBoth);
  gate.dialer.fail = Error(Code::kRefused, "what the dialler says");
  CHECK(gate.Agree(kSpeaksBoth) == "h2");
  CHECK(gate.dialer.dialed.size() == 1);
  // Failures are not remembered.
  gate.dialer.fail = {};
  CHECK(gate.Agree(kSpeaksBoth) == "h2");
  CHECK(gate.dialer.dialed.size() == 2);
}

TEST_CASE("a ClientHello that is held may arrive in pieces") {
  for (const size_t cut : {1u, 3u, 100u}) {
    ProtocolGate gate(kSpeaksHttp1);
    const MemoryStream::Options wire{.capacity = 64 * 1024, .cut = cut};
    CHECK(gate.Agree(kSpeaksBoth, gate.Flow(), wire) == "http/1.1");
  }
}

TEST_CASE("a guest that leaves while its ClientHello is held ends the attempt") {
  ProtocolGate gate(kSpeaksBoth);
  auto guest = gate.Begin(kSpeaksBoth, gate.Flow());
  gate.RunUntil([&] { return !gate.dialer.dialed.empty(); });
  SECTION("by a reset") {
    guest->Abort();
  }
  SECTION("by an end") {
    guest.reset();
  }
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
  CHECK(Contains(gate.LastRecord().detail, "the client left"));
  CHECK(gate.origin.received() == 0);
}

TEST_CASE("what a guest sends behind its ClientHello waits, and is bounded") {
  ProtocolGate gate(kSpeaksBoth);
  const std::string more = GENERATE(std::string(100, '\x17'), std::string(100'000, '\x17'));
  auto guest =
      gate.Open({.alpn = kSpeaksBoth,
                 .rewrite_hello = [&more](const std::string& hello) { return hello + more; }},
                gate.Flow());
  guest->Pump();
  // It is no TLS record, which ends the handshake once the upstream has answered.
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
}

TEST_CASE("the interceptor may be destroyed while a ClientHello is held, or at any other moment") {
  for (int turns = 0; turns < 16; ++turns) {
    ProtocolGate gate(kSpeaksBoth);
    auto guest = gate.Begin(kSpeaksBoth, gate.Flow());
    for (int i = 0; i < turns; ++i) {
      const auto tick = gate.loop->After(std::chrono::milliseconds(1), [] {});
      REQUIRE(gate.loop->RunOnce());
    }
    gate.interceptor.reset();
    guest.reset();
  }
}

}  // namespace
}  // namespace sallyport::mitm::http2
