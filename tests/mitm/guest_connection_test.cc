#include "mitm/guest_connection.h"

#include <openssl/hpke.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

TEST_CASE("the first byte tells what a guest speaks") {
  TestGate gate(Echo, nullptr);
  SECTION("neither TLS nor HTTP ends the flow with a reset and a record") {
    for (const char first : {'\x00', '\x80', 'g', ' ', '\n', '0', '\xff'}) {
      auto guest = gate.Open({.tls = false}, gate.Flow("api.test", 80));
      guest->Send(std::string(1, first) + "ABCDEFG");
      gate.RunUntil([&] { return guest->broken(); });
      CHECK(gate.LastRecord().reason == Reason::kNotHttp);
      CHECK_FALSE(gate.LastRecord().allowed);
    }
    CHECK(gate.audit.records.size() == 7);
  }
  SECTION("another protocol's first line is answered at once, though no head follows") {
    for (const char* line : {"SSH-2.0-OpenSSH_9.2\r\n", "EHLO guest.example\r\n", "INFO\r\n",
                             "USER anonymous\r\n"}) {
      CAPTURE(line);
      auto guest = gate.OpenPlain();
      guest->Send(line);
      CHECK(StatusOf(gate.TakeAnswer(*guest)) == 400);
      CHECK(gate.LastRecord().reason == Reason::kNotHttp);
    }
  }
  SECTION("a guest that leaves before it has sent anything leaves no trace") {
    auto guest = gate.OpenPlain();
    guest->CloseWrite();
    gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
    CHECK(gate.audit.records.empty());
  }
  SECTION("HTTP/2 by prior knowledge is answered readably") {
    auto guest = gate.OpenPlain();
    guest->Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    CHECK(StatusOf(gate.TakeAnswer(*guest)) == 400);
  }
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("a guest's bytes may arrive in pieces of any size") {
  for (const size_t cut : {1u, 2u, 3u, 5u, 100u}) {
    TestGate gate;
    auto guest = gate.Open({}, gate.Flow(), {.capacity = 64 * 1024, .cut = cut});
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    CHECK(StatusOf(gate.Ask(*guest, Get("/again"))) == 200);
  }
}

TEST_CASE("a ClientHello may be spread over records") {
  for (const size_t size : {1u, 4u, 50u, 200u}) {
    TestGate gate;
    auto guest = gate.Open(
        {.rewrite_hello = [size](const std::string& record) { return SplitRecord(record, size); }},
        gate.Flow(), {.capacity = 64 * 1024, .cut = 7});
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  }
}

TEST_CASE("a guest of TLS 1.2 is served") {
  TestGate gate;
  auto guest = gate.Open({.max_version = TLS1_2_VERSION}, gate.Flow());
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  CHECK(std::string(SSL_get_version(guest->ssl())) == "TLSv1.2");
}

TEST_CASE("a guest of TLS 1.1 is not") {
  TestGate gate;
  auto guest = gate.Open({.max_version = TLS1_1_VERSION}, gate.Flow());
  guest->Pump();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
}

TEST_CASE("a server name that is not the flow's is answered, but every request is misdirected") {
  TestGate gate;
  auto guest = gate.Open({.sni = "other.test", .verify = "other.test"}, gate.Flow());
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 421);
  CHECK(Contains(answer, "urn:sallyport:host_mismatch"));
  CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")) == 421);
  CHECK(gate.engine.asked == 0);
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("a server name is compared in its canonical form") {
  TestGate gate;
  auto guest = gate.Open({.sni = "API.Test"}, gate.Flow());
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
}

TEST_CASE("without a server name the certificate is for the flow's name") {
  TestGate gate;
  auto guest = gate.Open({.sni = "", .verify = "api.test"}, gate.Flow());
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
}

TEST_CASE("a flow to a literal address has a certificate for the address") {
  const TestCertificate certificate =
      MakeTestCertificate({.ip = "203.0.113.5", .issuer = &Roots()});
  TestGate gate(Echo, &certificate);
  auto guest = gate.Open({.sni = "", .verify = "203.0.113.5"}, gate.Flow(""));
  CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: 203.0.113.5\r\n\r\n")) == 200);
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 421);
  auto named = gate.Open({}, gate.Flow(""));
  CHECK(StatusOf(gate.Ask(*named, Get("/"))) == 421);
}

TEST_CASE("a guest that refuses the gate's certificate leaves a record that names the fix") {
  TestGate gate;
  auto guest = gate.Open({.sni = "api.test", .verify = "elsewhere.test"}, gate.Flow());
  guest->Pump();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
  CHECK(Contains(gate.LastRecord().detail, "api.test"));
  CHECK(Contains(gate.LastRecord().detail, "alert"));
  CHECK(Contains(gate.LastRecord().detail, "tls = \"passthrough\""));
}

TEST_CASE("a guest that goes on refusing the certificate is told of once, then by counts") {
  TestGate gate;
  const auto refuse = [&](const std::string& name, int times) {
    for (int i = 0; i < times; ++i) {
      auto guest = gate.Open({.sni = name, .verify = "elsewhere.test"}, gate.Flow(name));
      guest->Pump();
      gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
    }
  };
  refuse("api.test", 1);
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(Contains(gate.LastRecord().detail, "docs/trust.md"));
  refuse("api.test", 24);
  CHECK(gate.audit.records.size() == 1);
  refuse("api.test", 1);
  REQUIRE(gate.audit.records.size() == 2);
  CHECK(Contains(gate.LastRecord().detail, "25 times since this was last told, 26 in all"));
  refuse("other.test", 1);
  CHECK(gate.audit.records.size() == 3);
  CHECK(gate.LastRecord().name == "other.test");
  refuse("api.test", 3);
  CHECK(gate.audit.records.size() == 3);
  gate.interceptor.reset();
  REQUIRE(gate.audit.records.size() == 4);
  CHECK(Contains(gate.LastRecord().detail, "3 times since this was last told, 29 in all"));
}

TEST_CASE("a hello with GREASE ECH is served as any other") {
  TestGate gate;
  auto guest = gate.Open({.ech_grease = true}, gate.Flow());
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
}

TEST_CASE("ECH is decided on its outer name, and the client fails closed") {
  // A configuration of the server's, as DNS would give it; the gate does not have its key.
  bssl::ScopedEVP_HPKE_KEY key;
  REQUIRE(EVP_HPKE_KEY_generate(key.get(), EVP_hpke_x25519_hkdf_sha256()) == 1);
  uint8_t* config = nullptr;
  size_t size = 0;
  REQUIRE(SSL_marshal_ech_config(&config, &size, 1, key.get(), "api.test", 64) == 1);
  const bssl::UniquePtr<uint8_t> own(config);
  std::string configs = {static_cast<char>(size >> 8), static_cast<char>(size & 0xff)};
  configs.append(reinterpret_cast<char*>(config), size);

  TestGate gate;
  auto guest = gate.Open({.sni = "hidden.test", .ech_configs = configs}, gate.Flow());
  guest->Send(Get("/"));
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(guest->failure() == "ECH_REJECTED");
  const uint8_t* retry = nullptr;
  size_t retry_size = 0;
  SSL_get0_ech_retry_configs(guest->ssl(), &retry, &retry_size);
  CHECK(retry_size == 0);
  CHECK(gate.engine.asked == 0);
  CHECK(gate.dialer.dialed.empty());
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
  CHECK(Contains(gate.LastRecord().detail, "121"));
}

TEST_CASE("a guest that hangs up in the handshake leaves a record") {
  TestGate gate;
  auto guest = gate.Open();
  guest->reading = false;
  guest->Pump();
  REQUIRE(gate.loop->RunOnce());
  guest->Abort();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
}

TEST_CASE(
    "a client that speaks no HTTP of ours fails in the handshake, with a record that says so") {
  TestGate gate;
  auto guest = gate.Open({.alpn = "\x02h3"}, gate.Flow());
  guest->Pump();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(Contains(gate.LastRecord().detail, "(h2, http/1.1)"));
}

TEST_CASE("a server name that is no host name ends the handshake") {
  TestGate gate;
  auto guest = gate.Open({.sni = "10.0.0.1", .verify = ""}, gate.Flow());
  guest->Pump();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.LastRecord().reason == Reason::kClientTls);
}

TEST_CASE("bytes that only begin like TLS end with a record") {
  TestGate gate;
  for (const std::string bytes :
       {"\x16\x03\x01\x00\x05hello", "\x16garbage garbage garbage", "\x16\x03\x01\xff\xff"}) {
    auto guest = gate.Open({.tls = false}, gate.Flow());
    guest->Send(bytes);
    guest->CloseWrite();
    gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
    CHECK(gate.LastRecord().reason == Reason::kClientTls);
  }
}

TEST_CASE("a guest may leave at any byte") {
  // The whole of what a client sends, in two requests with bodies.
  const std::string script =
      Get("/a") +
      "POST /b HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n0\r\n\r\n";
  for (const bool reset : {false, true}) {
    TestGate gate(Echo, nullptr);
    for (size_t size = 1; size <= script.size(); ++size) {
      INFO(size << (reset ? " bytes, then a reset" : " bytes, then an end"));
      auto guest = gate.OpenPlain();
      guest->Send(script.substr(0, size));
      if (size % 3 == 0) REQUIRE(gate.loop->RunOnce());
      if (reset) guest->Abort();
      guest.reset();
      gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
    }
  }
}

TEST_CASE("a guest may leave at any moment of a TLS connection") {
  TestGate gate;
  for (int turns = 0; turns < 24; ++turns) {
    auto guest = gate.Open({}, gate.Flow(), {.capacity = 64 * 1024, .cut = 400});
    guest->Send(Get("/"));
    for (int i = 0; i < turns && !Contains(guest->received, "\r\n\r\n"); ++i) {
      REQUIRE(gate.loop->RunOnce());
    }
    guest.reset();
    gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  }
}

TEST_CASE("an interceptor may be destroyed at any moment") {
  for (int turns = 0; turns < 16; ++turns) {
    TestGate gate;
    auto guest = gate.Open({}, gate.Flow(), {.capacity = 64 * 1024, .cut = 400});
    guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\nabc");
    for (int i = 0; i < turns; ++i) {
      const auto tick = gate.loop->After(std::chrono::milliseconds(1), [] {});
      REQUIRE(gate.loop->RunOnce());
    }
    gate.interceptor.reset();
    guest.reset();
  }
}

}  // namespace
}  // namespace sallyport::mitm
