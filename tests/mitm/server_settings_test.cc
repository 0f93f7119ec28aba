#include <openssl/sha.h>

#include <catch2/catch.hpp>
#include <string>

#include "mitm/guest_tls.h"
#include "mitm/server_settings.h"
#include "mitm/upstream_pool.h"
#include "tests/mitm/harness.h"
#include "tests/mitm/http2/frames.h"
#include "tests/mitm/http2/http2_origin.h"

// What servers of some hosts must prove besides, and are shown.

namespace sallyport::mitm {
namespace {

std::string PinOf(const TestCertificate& certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(certificate.key.get(), &der);
  const bssl::UniquePtr<uint8_t> own(der);
  std::string pin(SHA256_DIGEST_LENGTH, '\0');
  SHA256(der, static_cast<size_t>(size), reinterpret_cast<uint8_t*>(pin.data()));
  return pin;
}

DeclaredServer For(const std::string& host) {
  return {.host = *HostPattern::Parse(host), .roots = {}, .pins = {}, .client = {}};
}

std::vector<DeclaredServer> Only(DeclaredServer server) {
  std::vector<DeclaredServer> servers;
  servers.push_back(std::move(server));
  return servers;
}

Origin::Tls Versions(uint16_t least, uint16_t most) {
  return {.min_version = least, .max_version = most, .clients = nullptr, .alpn = {}};
}

TEST_CASE("an authority that is declared for a host is trusted for that host alone") {
  const TestCertificate corp = MakeTestCertificate({.name = "Corp", .authority = true});
  const TestCertificate certificate =
      MakeTestCertificate({.name = "any", .dns = "api.test,DNS:b.test", .issuer = &corp});
  DeclaredServer server = For("api.test");
  server.roots.push_back({"corp.pem", corp.Pem()});
  TestGate gate(Echo, &certificate, {}, Only(std::move(server)));
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  auto other = gate.Open({.sni = "b.test", .verify = "b.test"}, gate.Flow("b.test"));
  const std::string answer = gate.Ask(*other, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
  CHECK(StatusOf(answer) == 502);
  CHECK(Contains(answer, "its issuer is 'CN=Corp'"));
  CHECK(Contains(answer, "upstream"));
}

TEST_CASE("a declared authority does not replace those of the host") {
  const TestCertificate corp = MakeTestCertificate({.name = "Corp", .authority = true});
  DeclaredServer server = For("*.test");
  server.roots.push_back({"corp.pem", corp.Pem()});
  TestGate gate(Echo, &ApiCertificate(), {}, Only(std::move(server)));
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
}

TEST_CASE("a pin may be of any certificate of the verified chain") {
  for (const TestCertificate* pinned : {&ApiCertificate(), &Roots()}) {
    DeclaredServer server = For("api.test");
    server.pins = {std::string(32, 'x'), PinOf(*pinned)};
    TestGate gate(Echo, &ApiCertificate(), {}, Only(std::move(server)));
    auto guest = gate.Open();
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  }
}

TEST_CASE("a chain without a pinned key is refused, and no byte of the request leaves") {
  DeclaredServer server = For("api.test");
  server.pins = {std::string(32, 'x')};
  TestGate gate(Echo, &ApiCertificate(), {}, Only(std::move(server)));
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 502);
  CHECK(Contains(answer, "urn:sallyport:upstream_tls"));
  CHECK(Contains(answer, "is one that the policy pins"));
  CHECK(Contains(answer, "sha256/"));
  CHECK(gate.origin.received() == 0);
}

TEST_CASE("pins don't make an authority trusted") {
  const TestCertificate strange = MakeTestCertificate({.name = "api.test", .dns = "api.test"});
  DeclaredServer server = For("api.test");
  server.pins = {PinOf(strange)};
  TestGate gate(Echo, &strange, {}, Only(std::move(server)));
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, Get("/")), "self signed certificate"));
}

TEST_CASE("a client certificate is shown to its host, and to no other") {
  const TestCertificate client =
      MakeTestCertificate({.name = "the gate", .dns = "gate.test", .issuer = &Roots()});
  const auto key = secrets::Secret::Create(client.KeyPem(), secrets::Secret::Form::kFile);
  REQUIRE(key);
  const TestCertificate any =
      MakeTestCertificate({.name = "any", .dns = "api.test,DNS:b.test", .issuer = &Roots()});
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    DeclaredServer server = For("api.test");
    server.client = {{"client.pem", client.Pem()}, "client-key.pem", &*key};
    Origin::Tls tls = Versions(version, version);
    tls.clients = &Roots();
    TestGate gate(Echo, &any, tls, Only(std::move(server)));
    auto guest = gate.Open();
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    CHECK(gate.origin.identified() == 1);
    auto other = gate.Open({.sni = "b.test", .verify = "b.test"}, gate.Flow("b.test"));
    const std::string answer = gate.Ask(*other, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    CHECK(StatusOf(answer) == 502);
    CHECK(Contains(answer, "the peer sent alert "));
    CHECK(gate.origin.identified() == 1);
  }
}

TEST_CASE("a client certificate that can't be used is an error that names its file") {
  const TestCertificate client = MakeTestCertificate({.name = "the gate"});
  const auto create = [](const std::string& chain, const std::string& key) {
    const auto secret = secrets::Secret::Create(key, secrets::Secret::Form::kFile);
    DeclaredServer server = For("api.test");
    server.client = {{"client.pem", chain}, "client-key.pem", &*secret};
    auto loop = std::move(*Loop::Create());
    LoopbackDialer dialer(*loop, 1);
    policy::FakeEngine engine;
    secrets::Store store;
    RecordingAudit audit;
    policy::FakeWaits waits;
    auto made = Interceptor::Create(
        {.loop = *loop,
         .dialer = dialer,
         .engine = engine,
         .secrets = store,
         .audit = audit,
         .terminate = {},
         .waits = waits},
        {.system_roots = {}, .extra_roots = {}, .servers = Only(std::move(server))});
    return made ? std::string() : made.error().message();
  };
  CHECK(create(client.Pem(), client.KeyPem()).empty());
  CHECK(Contains(create("no certificate", client.KeyPem()), "client.pem"));
  const std::string no_key = create(client.Pem(), "hunter2");
  CHECK(Contains(no_key, "client-key.pem"));
  CHECK_FALSE(Contains(no_key, "hunter2"));
  const TestCertificate other = MakeTestCertificate({.name = "other"});
  CHECK(Contains(create(client.Pem(), other.KeyPem()), "is not the key of"));
}

TEST_CASE("connections and sessions are keyed by what a server must prove") {
  std::vector<DeclaredServer> servers;
  servers.push_back(For("a.test"));
  servers.back().pins = {PinOf(Roots())};
  servers.push_back(For("b.test"));
  servers.back().pins = {PinOf(ApiCertificate())};
  const bssl::UniquePtr<X509_STORE> base(X509_STORE_new());
  auto table = ServerTable::Create(servers, base.get());
  REQUIRE(table);
  const auto id = [&](const char* name) { return table->For(*HostName::Parse(name))->id; };
  CHECK_FALSE(id("a.test").empty());
  CHECK(id("a.test") != id("b.test"));
  CHECK(id("c.test").empty());
  CHECK(table->For(*IpAddress::Parse("192.0.2.1"))->id.empty());

  UpstreamTarget target{
      .destination = {.host = *HostName::Parse("a.test"), .port = 443, .filter = {}},
      .tls = true,
      .identity = *HostName::Parse("a.test"),
      .verification = id("a.test")};
  const std::string key = target.Key();
  target.verification = id("b.test");
  CHECK(target.Key() != key);
}

TEST_CASE("a chain with a weak key is refused") {
  const TestCertificate weak = MakeTestCertificate(
      {.name = "api.test", .dns = "api.test", .issuer = &Roots(), .rsa_bits = 1024});
  TestGate gate(Echo, &weak);
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 502);
  CHECK(Contains(answer, "weak key"));
  CHECK(Contains(answer, "RSA key of 1024 bits"));
}

TEST_CASE("servers of TLS 1.2 alone and of TLS 1.3 alone are served") {
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    for (const uint16_t guests : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
      TestGate gate(Echo, &ApiCertificate(), Versions(version, version));
      auto guest = gate.Open({.max_version = guests, .min_version = guests}, gate.Flow());
      CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
      CHECK(SSL_version(guest->ssl()) == guests);
    }
  }
}

TEST_CASE("what a server must prove holds where HTTP/2 is agreed on, too") {
  const std::string both = "\x02h2\x08http/1.1";
  const TestCertificate weak = MakeTestCertificate(
      {.name = "api.test", .dns = "api.test", .issuer = &Roots(), .rsa_bits = 1024});
  const bool by_pin = GENERATE(true, false);
  DeclaredServer server = For("api.test");
  if (by_pin) server.pins = {std::string(32, 'x')};
  TestGate gate(Echo, by_pin ? &ApiCertificate() : &weak, Origin::Speaking(both),
                Only(std::move(server)));
  auto guest = gate.Open({.alpn = both}, gate.Flow());
  guest->Send(http2::Preface() + http2::Head(1, http2::Asking()));
  gate.RunUntil([&] { return !gate.audit.records.empty(); });
  CHECK(AlpnOf(guest->ssl()) == "h2");
  CHECK(gate.LastRecord().reason == Reason::kUpstreamTls);
  CHECK(Contains(gate.LastRecord().detail, by_pin ? "policy pins" : "weak key"));
  CHECK(gate.origin.received() == 0);
}

TEST_CASE("a client certificate is shown where HTTP/2 is agreed on, too") {
  const std::string both = "\x02h2\x08http/1.1";
  const TestCertificate client =
      MakeTestCertificate({.name = "the gate", .dns = "gate.test", .issuer = &Roots()});
  const auto key = secrets::Secret::Create(client.KeyPem(), secrets::Secret::Form::kFile);
  REQUIRE(key);
  DeclaredServer server = For("api.test");
  server.client = {{"client.pem", client.Pem()}, "client-key.pem", &*key};
  Origin::Tls tls = Origin::Speaking(both);
  tls.clients = &Roots();
  TestGate gate(http2::Http2Origin(), &ApiCertificate(), tls, Only(std::move(server)));
  auto guest = gate.Open({.alpn = both}, gate.Flow());
  guest->Send(http2::Preface() + http2::Head(1, http2::Asking()));
  gate.RunUntil([&] { return !gate.audit.records.empty(); });
  CHECK(gate.LastRecord().status == 200);
  CHECK(gate.origin.identified() == 1);
}

TEST_CASE("a server of HTTP/2 that wants a client certificate is told about") {
  const std::string both = "\x02h2\x08http/1.1";
  Origin::Tls tls = Origin::Speaking(both);
  tls.clients = &Roots();
  TestGate gate(http2::Http2Origin(), &ApiCertificate(), tls);
  auto guest = gate.Open({.alpn = both}, gate.Flow());
  guest->Send(http2::Preface() + http2::Head(1, http2::Asking()));
  gate.RunUntil([&] { return !gate.audit.records.empty(); });
  CHECK(gate.LastRecord().status == 502);
  CHECK(Contains(gate.LastRecord().detail, "the peer sent alert "));
}

TEST_CASE("a server of TLS 1.1 alone is told about") {
  TestGate gate(Echo, &ApiCertificate(), Versions(TLS1_1_VERSION, TLS1_1_VERSION));
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 502);
  CHECK(Contains(answer, "protocol version"));
}

}  // namespace
}  // namespace sallyport::mitm
