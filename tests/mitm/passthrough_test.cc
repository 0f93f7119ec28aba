#include "mitm/passthrough.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <thread>

#include "mitm/guest_tls.h"
#include "mitm/limits.h"
#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

const std::string kBoth = "\x02h2\x08http/1.1";

/// A flow that a rule passes through.
HttpFlow Passed(TestGate& gate, const std::string& name = "api.test") {
  HttpFlow flow = gate.Flow(name);
  flow.verdict.passthrough = true;
  return flow;
}

/// A guest that trusts the servers' own authority, and not the gate's.
std::unique_ptr<GuestClient> OpenPassed(TestGate& gate, GuestClient::Options options,
                                        MemoryStream::Options wire = {}) {
  options.trusted = Roots().Pem();
  auto ends = MemoryStream::Make(*gate.loop, wire);
  gate.interceptor->Serve(std::move(ends.a), Passed(gate));
  return std::make_unique<GuestClient>(std::move(ends.b), std::move(options));
}

void AwaitOver(TestGate& gate) {
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
}

/// Waits for the end of a refused guest, and returns the failure that its TLS reports.
std::string FailureOf(TestGate& gate, GuestClient& guest) {
  guest.Pump();
  gate.RunUntil([&] { return !guest.failure().empty() || guest.broken(); });
  AwaitOver(gate);
  CHECK(gate.origin.connections() == 0);
  CHECK_FALSE(gate.LastRecord().allowed);
  CHECK(gate.audit.records.size() == 1);
  return guest.failure();
}

TEST_CASE("a flow that is passed through ends at the server's own certificate") {
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    TestGate gate;
    auto guest = OpenPassed(gate, {.max_version = version});
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    CHECK(gate.engine.asked == 0);
    CHECK(gate.audit.records.empty());
    gate.clock.Advance(std::chrono::seconds(3));
    guest->CloseWrite();
    AwaitOver(gate);
    REQUIRE(gate.audit.records.size() == 1);
    const AuditRecord& record = gate.LastRecord();
    CHECK(record.allowed);
    CHECK(record.transport == "https");
    CHECK(record.rule == "policy.lua:1");
    CHECK(record.name == "api.test");
    CHECK(record.method.empty());
    CHECK(record.detail == "passed through");
    CHECK(record.bytes_up > 300);
    CHECK(record.bytes_down > 400);
    CHECK(record.duration == std::chrono::seconds(3));
    CHECK(record.address == IpAddress::V4(127, 0, 0, 1));
  }
}

TEST_CASE("a guest and a server agree on HTTP/2 by themselves where a flow is passed through") {
  TestGate gate(Echo, &ApiCertificate(), kBoth);
  auto guest = OpenPassed(gate, {.alpn = kBoth});
  guest->Pump();
  gate.RunUntil([&] { return guest->up(); });
  CHECK(AlpnOf(guest->ssl()) == "h2");
  CHECK(gate.dialer.dialed.size() == 1);  // Nothing is dialled to ask for the protocol.
  CHECK(gate.origin.connections() == 1);
  guest->CloseWrite();
  AwaitOver(gate);
}

TEST_CASE("a hello over many records and segments is passed on whole, and not a byte is changed") {
  for (const size_t size : {1u, 4u, 50u, 5000u}) {
    std::mutex mutex;
    std::string arrived;
    TestGate gate(
        [&](Origin::Connection& connection) {
          for (std::string more = connection.Read(); !more.empty(); more = connection.Read()) {
            {
              const std::lock_guard lock(mutex);
              arrived += more;
            }
            connection.Write(" ");  // Wakes the loop.
          }
        },
        nullptr);
    std::string sent;
    auto guest = OpenPassed(gate,
                            {.rewrite_hello =
                                 [&](const std::string& record) {
                                   sent += SplitRecord(record, size);
                                   return SplitRecord(record, size);
                                 }},
                            {.capacity = 64 * 1024, .cut = 7});
    guest->Pump();
    gate.RunUntil([&] {
      const std::lock_guard lock(mutex);
      return !sent.empty() && arrived.size() >= sent.size();
    });
    CHECK(arrived == sent);
  }
}

TEST_CASE("each direction of a flow that is passed through may end by itself") {
  const std::string large(3 << 20, 'x');
  std::atomic<size_t> read{0};
  TestGate gate([&](Origin::Connection& connection) {
    std::string more = connection.Read();
    for (; !more.empty(); more = connection.Read()) read += more.size();
    connection.Write(large);  // After the client's end.
  });
  auto guest = OpenPassed(gate, {});
  guest->Send(large);
  gate.RunUntil([&] { return read == large.size() || guest->broken(); });
  guest->CloseWrite();
  gate.RunUntil([&] { return guest->received.size() == large.size() || guest->broken(); });
  CHECK(guest->received == large);
  AwaitOver(gate);
  CHECK(gate.LastRecord().bytes_up > large.size());
  CHECK(gate.LastRecord().bytes_down > large.size());
}

TEST_CASE("a guest that does not read holds the server up, and nothing is kept for it") {
  constexpr size_t kPieces = 48;
  std::atomic<size_t> written[2] = {};
  std::atomic<int> connections{0};
  const std::string piece(1 << 20, 'x');
  TestGate gate([&](Origin::Connection& connection) {
    std::atomic<size_t>& mine = written[connections++];
    connection.ReadHead();
    for (size_t i = 0; i < kPieces; ++i) {
      connection.Write(piece);
      mine += piece.size();
    }
  });
  auto still = OpenPassed(gate, {}, {.capacity = 16 * 1024});
  still->Send(Get("/"));
  gate.RunUntil([&] { return still->received.size() > 100000; });
  still->reading = false;
  // While another flow, of the same turns, moves all it has.
  auto busy = OpenPassed(gate, {}, {.capacity = 16 * 1024});
  busy->Send(Get("/"));
  gate.RunUntil([&] { return busy->received.size() == kPieces * piece.size(); });
  CHECK(written[0] < kPieces / 2 * piece.size());  // What the kernel's buffers hold.
  still->reading = true;
  still->Pump();
  gate.RunUntil([&] { return still->received.size() == kPieces * piece.size(); });
}

TEST_CASE("a hello that is not for the flow's name is refused with unrecognized_name") {
  TestGate gate;
  GuestClient::Options options;
  const char* why = "";
  SECTION("another name") {
    options.sni = "other.test";
    why = "for other.test";
  }
  SECTION("none") {
    options.sni = "";
    why = "has none";
  }
  SECTION("an address") {
    options.sni = "10.0.0.1";
    why = "not a host name";
  }
  auto guest = OpenPassed(gate, options);
  CHECK(FailureOf(gate, *guest) == "TLSV1_ALERT_UNRECOGNIZED_NAME");
  CHECK(gate.LastRecord().reason == Reason::kHostMismatch);
  CHECK(Contains(gate.LastRecord().detail, why));
}

TEST_CASE("a hello that may hide a name is refused, GREASE included") {
  TestGate gate;
  auto ends = MemoryStream::Make(*gate.loop, {});
  gate.interceptor->Serve(std::move(ends.a), Passed(gate));
  GuestClient guest(std::move(ends.b), {.ech_grease = true});
  CHECK(FailureOf(gate, guest) == "TLSV1_ALERT_ACCESS_DENIED");
  CHECK(gate.LastRecord().reason == Reason::kHostMismatch);
  CHECK(Contains(gate.LastRecord().detail, "encrypted_client_hello"));
}

/// RECORD, one ClientHello, with the extension of TYPE and BODY added at its end.
std::string WithExtension(std::string record, uint16_t type, const std::string& body) {
  const auto put16 = [&record](size_t at, size_t value) {
    record[at] = static_cast<char>(value >> 8);
    record[at + 1] = static_cast<char>(value & 0xff);
  };
  const auto get16 = [&record](size_t at) {
    return static_cast<size_t>(static_cast<uint8_t>(record[at]) << 8 |
                               static_cast<uint8_t>(record[at + 1]));
  };
  size_t at = 5 + 4 + 2 + 32;                  // Record, message, version, random.
  at += 1 + static_cast<uint8_t>(record[at]);  // Session id.
  at += 2 + get16(at);                         // Cipher suites.
  at += 1 + static_cast<uint8_t>(record[at]);  // Compression methods.
  const size_t added = 4 + body.size();
  put16(at, get16(at) + added);
  record += {static_cast<char>(type >> 8), static_cast<char>(type & 0xff),
             static_cast<char>(body.size() >> 8), static_cast<char>(body.size() & 0xff)};
  record += body;
  put16(3, get16(3) + added);
  put16(7, get16(7) + added);
  return record;
}

TEST_CASE("drafts of ECH are refused as well, and an extension that stands twice") {
  struct Row {
    uint16_t type;
    std::string body;
    const char* alert;
  };
  const std::string other_name("\x00\x0d\x00\x00\x0aother.test", 15);
  for (const Row& row : {Row{0xffce, "x", "TLSV1_ALERT_ACCESS_DENIED"},
                         Row{0xfe09, "x", "TLSV1_ALERT_ACCESS_DENIED"},
                         Row{0xfe0d, "x", "TLSV1_ALERT_ACCESS_DENIED"},
                         Row{0, other_name, "TLSV1_ALERT_DECODE_ERROR"}}) {
    CAPTURE(row.type);
    TestGate gate;
    auto guest = OpenPassed(gate, {.rewrite_hello = [&row](const std::string& record) {
                              return WithExtension(record, row.type, row.body);
                            }});
    CHECK(FailureOf(gate, *guest) == row.alert);
  }
}

TEST_CASE("an extension of no meaning changes nothing") {
  TestGate gate(
      [](Origin::Connection& connection) {
        connection.Read();
        connection.Write(std::string("\x15\x03\x03\x00\x02\x02\x28", 7));
      },
      nullptr);
  auto guest = OpenPassed(gate, {.rewrite_hello = [](const std::string& record) {
                            return WithExtension(record, 0x1a1a, "x");
                          }});
  guest->Pump();
  gate.RunUntil([&] { return !guest->failure().empty(); });
  CHECK(guest->failure() == "SSLV3_ALERT_HANDSHAKE_FAILURE");  // The server's.
  CHECK(gate.origin.received() > 0);
}

TEST_CASE("a hello that can't be read, never ends, or is too long is refused") {
  TestGate gate;
  const auto serve = [&](const std::string& bytes) {
    auto ends = MemoryStream::Make(*gate.loop, {.capacity = 1 << 20});
    gate.interceptor->Serve(std::move(ends.a), Passed(gate));
    auto guest =
        std::make_unique<GuestClient>(std::move(ends.b), GuestClient::Options{.tls = false});
    guest->Send(bytes);
    return guest;
  };
  auto garbage = serve("\x16garbage garbage");
  AwaitOver(gate);
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
  gate.RunUntil([&] { return garbage->ended(); });
  CHECK(garbage->received == std::string("\x15\x03\x03\x00\x02\x02\x32", 7));

  auto cut = serve(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  cut->CloseWrite();
  AwaitOver(gate);
  CHECK(Contains(gate.LastRecord().detail, "within its ClientHello"));

  std::string crumbs;  // A hello of 16,000 bytes, one in each record.
  const std::string head("\x01\x00\x3e\x80", 4);
  for (size_t i = 0; i < 16004; ++i) {
    crumbs += std::string("\x16\x03\x01\x00\x01", 5) + (i < 4 ? head[i] : '\0');
  }
  auto long_one = serve(crumbs);
  AwaitOver(gate);
  CHECK(Contains(gate.LastRecord().detail, "longer than 64 KiB"));
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("the address guard holds for a flow that is passed through") {
  TestGate gate;
  gate.dialer.fail = Error(Code::kAddressRefused, "only 10.0.0.1 (private)");
  auto guest = OpenPassed(gate, {});
  CHECK(FailureOf(gate, *guest) == "TLSV1_ALERT_ACCESS_DENIED");
  CHECK(gate.LastRecord().reason == Reason::kAddressRefused);
  CHECK(Contains(gate.LastRecord().detail, "10.0.0.1"));
}

TEST_CASE("a server that can't be reached resets the guest") {
  TestGate gate;
  gate.dialer.fail = Error(Code::kRefused, "refused");
  auto guest = OpenPassed(gate, {});
  CHECK(FailureOf(gate, *guest).empty());
  CHECK(gate.LastRecord().reason == Reason::kUpstreamRefused);
}

TEST_CASE("a flow is passed to where its rule sends it") {
  TestGate gate;
  HttpFlow flow = Passed(gate);
  policy::RuleOf(flow.verdict).rare.Edit().to = *ParseAuthority("127.0.0.1:9999");
  auto ends = MemoryStream::Make(*gate.loop, {});
  gate.interceptor->Serve(std::move(ends.a), std::move(flow));
  GuestClient guest(std::move(ends.b), {.trusted = Roots().Pem()});
  CHECK(StatusOf(gate.Ask(guest, Get("/"))) == 200);
  CHECK(gate.dialer.dialed.at(0).port == 9999);
  CHECK(gate.dialer.dialed.at(0).chosen_by_user);
}

TEST_CASE("plain HTTP on such a flow is seen as ever") {
  TestGate gate(Echo, nullptr);
  HttpFlow flow = gate.Flow("api.test", 80);
  flow.verdict.passthrough = true;
  auto guest = gate.Open({.tls = false}, std::move(flow));
  CHECK(StatusOf(gate.Ask(*guest, Get("/seen"))) == 200);
  CHECK(gate.engine.asked == 1);
  CHECK(gate.LastRecord().path == "/seen");
}

TEST_CASE("a host with a secret is never passed through") {
  TestGate gate;
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("api.test")};
  REQUIRE(gate.secrets.Add(spec, *secrets::Secret::Create("0123456789abcdef")));
  auto guest = OpenPassed(gate, {});
  CHECK(FailureOf(gate, *guest) == "TLSV1_ALERT_ACCESS_DENIED");
  CHECK(gate.LastRecord().reason == Reason::kDeniedByRule);
}

TEST_CASE("an audit log that can't be written passes nothing through") {
  TestGate gate;
  gate.audit.is_healthy = false;
  auto guest = OpenPassed(gate, {});
  CHECK(FailureOf(gate, *guest) == "TLSV1_ALERT_ACCESS_DENIED");
}

TEST_CASE("a flow that is passed through has a time for its hello, its server and its silence") {
  const auto broken = [](GuestClient& guest) { return [&guest] { return guest.broken(); }; };
  SECTION("the ClientHello") {
    TestGate gate;
    auto ends = MemoryStream::Make(*gate.loop, {});
    gate.interceptor->Serve(std::move(ends.a), Passed(gate));
    GuestClient guest(std::move(ends.b), {.tls = false});
    guest.Send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9));
    gate.Settle();
    gate.clock.Advance(kGuestHandshakeTimeout / 2);
    guest.Send("\x03");
    gate.Settle();
    gate.Pass(kGuestHandshakeTimeout / 2, broken(guest));
    CHECK(gate.LastRecord().detail == "the ClientHello took too long");
    CHECK(gate.interceptor->connections() == 0);
  }
  SECTION("dialing") {
    TestGate gate;
    gate.dialer.hangs = true;
    auto guest = OpenPassed(gate, {});
    guest->Pump();
    gate.RunUntil([&] { return gate.dialer.under_way() == 1; });
    gate.Pass(kConnectTimeout, broken(*guest));
    CHECK(gate.LastRecord().reason == Reason::kUpstreamTimeout);
    CHECK(gate.dialer.under_way() == 0);
    CHECK(gate.interceptor->connections() == 0);
  }
  SECTION("silence, which any byte ends") {
    TestGate gate;
    auto guest = OpenPassed(gate, {});
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    gate.clock.Advance(kPassthroughIdleTimeout / 2);
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    gate.Settle();
    gate.Pass(kPassthroughIdleTimeout, broken(*guest));
    CHECK(gate.LastRecord().detail == "passed through; nothing was sent for too long");
    CHECK(gate.interceptor->connections() == 0);
  }
  SECTION("silence after one side's end") {
    std::atomic<bool> over{false};
    TestGate gate(
        [&over](Origin::Connection& connection) {
          while (!connection.Read().empty()) {
          }
          connection.Write("still here");
          while (!over) std::this_thread::yield();
        },
        nullptr);
    auto guest = OpenPassed(gate, {});
    guest->Pump();
    gate.RunUntil([&] { return gate.origin.received() > 0; });
    guest->CloseWrite();
    gate.RunUntil([&] { return !guest->failure().empty(); });  // What is no TLS has arrived.
    gate.Settle();
    gate.Pass(kPassthroughHalfClosedTimeout, [&] { return gate.interceptor->connections() == 0; });
    CHECK(gate.LastRecord().detail == "passed through; nothing was sent for too long");
    over = true;
  }
}

TEST_CASE("a flow that is passed through may end at any moment, on either side") {
  for (int turns = 0; turns < 12; ++turns) {
    for (const bool interceptor_first : {false, true}) {
      TestGate gate;
      auto guest = OpenPassed(gate, {}, {.capacity = 64 * 1024, .cut = 300});
      guest->Send(Get("/"));
      for (int i = 0; i < turns; ++i) {
        const auto tick = gate.loop->After(std::chrono::milliseconds(1), [] {});
        REQUIRE(gate.loop->RunOnce());
      }
      if (interceptor_first) gate.interceptor.reset();
      guest->Abort();
      guest.reset();
      if (!interceptor_first) AwaitOver(gate);
      CHECK(gate.audit.records.size() <= 1);
    }
  }
}

TEST_CASE("the sandbox's end leaves the record of a flow that is passed through") {
  TestGate gate;
  auto guest = OpenPassed(gate, {});
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  gate.interceptor.reset();
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().allowed);
  CHECK(Contains(gate.LastRecord().detail, "the sandbox ended"));
  CHECK(gate.LastRecord().bytes_down > 0);
}

}  // namespace
}  // namespace sallyport::mitm
