#include <time.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "mitm/authority.h"
#include "mitm/guest_tls.h"
#include "tests/mitm/harness.h"
#include "tests/mitm/http2/http2_origin.h"

namespace sallyport::mitm {
namespace {

/// A certificate for every name used here.
const TestCertificate& AnyCertificate() {
  static const TestCertificate certificate =
      MakeTestCertificate({.name = "any", .dns = "api.test,DNS:other.test", .issuer = &Roots()});
  return certificate;
}

struct Visit {
  std::string name = "api.test";
  uint16_t port = 443;
  uint16_t version = TLS1_3_VERSION;
  SSL_SESSION* session = nullptr;
  std::string sni = {};  ///< `name`, unless set.
};

/// A guest that has asked one thing, and got its answer.
std::unique_ptr<GuestClient> Ask(TestGate& gate, const Visit& visit, int status = 200) {
  const std::string sni = visit.sni.empty() ? visit.name : visit.sni;
  auto guest = gate.Open({.sni = sni,
                          .verify = sni,
                          .max_version = visit.version,
                          .session = visit.session,
                          .early_data = true},
                         gate.Flow(visit.name, visit.port));
  const std::string port = visit.port == 443 ? "" : ":" + std::to_string(visit.port);
  const std::string answer =
      gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: " + visit.name + port + "\r\n\r\n");
  CHECK(StatusOf(answer) == status);
  return guest;
}

TEST_CASE("a guest resumes its session for the same name and port, and is decided anew") {
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    TestGate gate(Echo, &AnyCertificate());
    const auto first = Ask(gate, {.version = version});
    REQUIRE_FALSE(first->tickets.empty());
    CHECK(SSL_session_reused(first->ssl()) == 0);
    const int asked = gate.engine.asked;
    const auto again = Ask(gate, {.version = version, .session = first->tickets.back().get()});
    CHECK(SSL_session_reused(again->ssl()) == 1);
    CHECK(gate.engine.asked == asked + 1);
  }
}

TEST_CASE("a ticket of another name, port or sandbox leads to a full handshake") {
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    TestGate gate(Echo, &AnyCertificate());
    const auto first = Ask(gate, {.version = version});
    REQUIRE_FALSE(first->tickets.empty());
    SSL_SESSION* session = first->tickets.back().get();

    auto other = Ask(gate, {.name = "other.test", .version = version, .session = session});
    CHECK(SSL_session_reused(other->ssl()) == 0);
    other = Ask(gate, {.port = 8443, .version = version, .session = session});
    CHECK(SSL_session_reused(other->ssl()) == 0);
    // The same server name, on a flow of another: misdirected, and nothing carried over.
    other =
        Ask(gate, {.name = "other.test", .version = version, .session = session, .sni = "api.test"},
            421);
    CHECK(SSL_session_reused(other->ssl()) == 0);

    TestGate stranger(Echo, &AnyCertificate());
    // The client itself would refuse the other authority's certificate if it did resume.
    const auto elsewhere = Ask(stranger, {.version = version, .session = session});
    CHECK(SSL_session_reused(elsewhere->ssl()) == 0);
  }
}

TEST_CASE("early data is neither offered nor accepted") {
  TestGate gate(Echo, &AnyCertificate());
  const auto first = Ask(gate, {});
  REQUIRE_FALSE(first->tickets.empty());
  CHECK(SSL_SESSION_early_data_capable(first->tickets.back().get()) == 0);
  const auto again = Ask(gate, {.session = first->tickets.back().get()});
  CHECK(SSL_early_data_accepted(again->ssl()) == 0);
}

TEST_CASE("a resumed session's connection agrees on its protocol anew") {
  const std::string both = "\x02h2\x08http/1.1";
  const std::string http1 = "\x08http/1.1";
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    TestGate gate(http2::Http2Origin(), &AnyCertificate(), both);
    SSL_SESSION* session = nullptr;
    std::vector<std::unique_ptr<GuestClient>> guests;
    // The second and the fourth wait, with their ticket, for what the upstream speaks.
    for (const std::string& alpn : {http1, both, http1, both}) {
      auto guest =
          gate.Open({.max_version = version, .alpn = alpn, .session = session}, gate.Flow());
      if (alpn == http1) CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
      guest->Pump();
      gate.RunUntil([&] { return guest->up(); });
      CHECK(AlpnOf(guest->ssl()) == (alpn == both ? "h2" : "http/1.1"));
      CHECK(SSL_session_reused(guest->ssl()) == (session == nullptr ? 0 : 1));
      if (session == nullptr) {
        REQUIRE_FALSE(guest->tickets.empty());
        session = guest->tickets.back().get();
      }
      guests.push_back(std::move(guest));
    }
  }
}

/// CPU microseconds of this thread.
double CpuNow() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// Not a test: prints what a handshake costs on each side. Run by hand, on a quiet machine:
/// mitm_guest_resumption_test "[measure]"
TEST_CASE("the cost of a full and of a resumed handshake", "[.][measure]") {
  constexpr int kRounds = 2000;
  auto loop = std::move(*Loop::Create());
  auto authority = std::move(*Authority::Create());
  auto tls = std::move(*GuestTls::Create(*authority));
  bssl::UniquePtr<SSL_SESSION> session;
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    for (const bool resume : {false, true}) {
      double server_cpu = 0;
      double client_cpu = 0;
      int resumed = 0;
      for (int round = 0; round < kRounds; ++round) {
        GuestHello hello;
        hello.name = *HostName::Parse("api.test");
        hello.port = 443;
        auto ends = MemoryStream::Make(*loop, {});
        double before = CpuNow();
        GuestClient client(std::move(ends.b), {.trusted = authority->trust_anchor().pem,
                                               .max_version = version,
                                               .session = resume ? session.get() : nullptr});
        client.Pump();
        client_cpu += CpuNow() - before;
        before = CpuNow();
        auto stream = tls->Accept(*loop, std::move(ends.a), {}, hello);
        server_cpu += CpuNow() - before;
        while (!client.up() || stream->Handshake() == TlsStream::Phase::kHandshake) {
          before = CpuNow();
          (void)stream->Handshake();
          server_cpu += CpuNow() - before;
          before = CpuNow();
          client.Pump();
          client_cpu += CpuNow() - before;
        }
        before = CpuNow();
        stream->Write("x");  // With the tickets of TLS 1.3.
        stream->Flush();
        server_cpu += CpuNow() - before;
        before = CpuNow();
        client.Pump();
        client_cpu += CpuNow() - before;
        resumed += SSL_session_reused(client.ssl());
        if (!client.tickets.empty()) session = std::move(client.tickets.back());
      }
      std::printf("TLS 1.%d %-8s %d of %d resumed: gate %.1f us, client %.1f us\n",
                  version == TLS1_2_VERSION ? 2 : 3, resume ? "resumed," : "full,", resumed,
                  kRounds, server_cpu / kRounds, client_cpu / kRounds);
    }
  }
}

}  // namespace
}  // namespace sallyport::mitm
