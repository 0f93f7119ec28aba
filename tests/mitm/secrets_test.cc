#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/harness.h"

// Secrets in requests that go through the whole interceptor.

namespace sallyport::mitm {
namespace {

constexpr const char* kValue = "ghp_realrealrealrealrealrealrealreal0000";

SecretSpec Spec(const std::string& host) {
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse(host)};
  spec.scrub = false;  // The origin's echo shows what it was given.
  return spec;
}

/// A gate with a secret for api.test.
struct SecretGate : TestGate {
  explicit SecretGate(SecretSpec spec = Spec("api.test"),
                      const TestCertificate* certificate = &ApiCertificate(),
                      const char* value = kValue)
      : TestGate(Echo, certificate) {
    REQUIRE(secrets.Add(std::move(spec), std::move(*secrets::Secret::Create(value))));
    placeholder = *secrets.PlaceholderOf("TOKEN");
  }
  std::string placeholder;
};

TEST_CASE("a placeholder becomes its value on the way to the origin, and nowhere else") {
  SecretGate gate;
  auto guest = gate.Open();
  const std::string answer =
      gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
  CHECK(Contains(answer, std::string("Authorization: Bearer ") + kValue));
  CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  CHECK(gate.LastRecord().secrets.empty());
}

TEST_CASE("a secret is injected into a request that holds nothing") {
  SecretSpec spec = Spec("api.test");
  spec.inject = {{"authorization", "Bearer {}"}};
  SecretGate gate(spec);
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, Get("/")), std::string("uthorization: Bearer ") + kValue));
}

TEST_CASE("a value in a path and in a query is encoded for its place, and audited by its name") {
  SecretSpec spec = Spec("api.test");
  spec.path = spec.query = true;
  SecretGate gate(spec, &ApiCertificate(), "12345:a real/value+0000000000000000000000");
  auto guest = gate.Open();
  const std::string answer = gate.Ask(
      *guest, Get("/bot" + gate.placeholder + "/m%65?a=%41&key=" + gate.placeholder + "&b"));
  CHECK(Contains(answer,
                 "GET /bot12345:a%20real%2Fvalue+0000000000000000000000/m%65"
                 "?a=%41&key=12345%3Aa%20real%2Fvalue%2B0000000000000000000000&b HTTP/1.1\r\n"));
  CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
  CHECK(gate.LastRecord().path == "/bot" + gate.placeholder + "/m%65");
}

TEST_CASE("a placeholder in a path or a query that no declaration names stays one") {
  SecretGate gate;
  auto guest = gate.Open();
  const std::string target = "/x/" + gate.placeholder + "?k=" + gate.placeholder;
  CHECK(Contains(gate.Ask(*guest, Get(target)), "GET " + target + " HTTP/1.1\r\n"));
  CHECK(gate.LastRecord().secrets.empty());
}

TEST_CASE("what a hook writes with a secret's handle gets the value like what the guest sent") {
  SecretSpec spec = Spec("api.test");
  spec.path = spec.query = true;
  spec.expose = false;
  SecretGate gate(spec);
  gate.engine.OnRequest([&](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
    head.headers.Set("authorization", "Bearer " + gate.placeholder);  // "Bearer " .. token
    head.path = "/bot" + gate.placeholder + head.path;
    head.query = "key=" + gate.placeholder;
    return policy::FakeEngine::Forward();
  });
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/me"));
  const std::string value = kValue;
  CHECK(Contains(answer, "GET /bot" + value + "/me?key=" + value + " HTTP/1.1\r\n"));
  CHECK(Contains(answer, "uthorization: Bearer " + value + "\r\n"));
  CHECK(gate.LastRecord().path == "/me");
}

TEST_CASE("a digest of a body that may change does not reach the origin") {
  SecretSpec spec = Spec("api.test");
  spec.body = SecretSpec::Body::kJson;
  SecretGate gate(spec);
  auto guest = gate.Open();
  const auto post = [&](const std::string& fields) {
    return gate.Ask(
        *guest, "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n" + fields +
                    "Content-Length: 2\r\n\r\n{}");
  };
  const std::string answer = post("Content-MD5: mZFLky/tTvoJdR2BnDL0jg==\r\n");
  CHECK(StatusOf(answer) == 200);
  CHECK_FALSE(Contains(answer, "Content-MD5"));
  CHECK(StatusOf(post("x-amz-content-sha256: 44136fa355b3678a\r\n")) == 403);
}

TEST_CASE("a placeholder for another host is refused before anything is dialled") {
  SecretGate gate(Spec("other.test"));
  auto guest = gate.Open();
  const std::string answer =
      gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
  CHECK(StatusOf(answer) == 403);
  CHECK(Contains(answer, "urn:sallyport:secret_wrong_host"));
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("a credential of the guest's own is refused at a host with a secret") {
  SecretGate gate;
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/", "Authorization: Bearer mine\r\n"));
  CHECK(StatusOf(answer) == 403);
  CHECK(gate.LastRecord().reason == Reason::kForeignCredential);
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("a foreign credential is stripped where the secret says so") {
  SecretSpec spec = Spec("api.test");
  spec.foreign = SecretSpec::Foreign::kStrip;
  SecretGate gate(spec);
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/", "Authorization: Bearer mine\r\n"));
  CHECK(StatusOf(answer) == 200);
  CHECK_FALSE(Contains(answer, "mine"));
}

TEST_CASE("a secret does not go over plain HTTP") {
  SecretGate gate(Spec("api.test"), nullptr);
  auto guest = gate.OpenPlain();
  const std::string answer =
      gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
  CHECK(StatusOf(answer) == 403);
  CHECK_FALSE(Contains(answer, kValue));
}

TEST_CASE("a secret does not go to a server that could not be verified") {
  const TestCertificate self_signed = MakeTestCertificate({.name = "api.test", .dns = "api.test"});
  SecretGate gate(Spec("api.test"), &self_signed);
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest,
                          Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"))) == 502);
  CHECK(gate.origin.received() == 0);
}

TEST_CASE("a Connection field can't take an injected secret away") {
  SecretSpec spec = Spec("api.test");
  spec.inject = {{"x-api-key", "{}"}};
  SecretGate gate(spec);
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/", "Connection: x-api-key\r\n"))) == 400);
}

TEST_CASE("a violation that ends the sandbox does so, once") {
  SecretSpec spec = Spec("other.test");
  spec.on_violation = SecretSpec::OnViolation::kTerminate;
  SecretGate gate(spec);
  auto guest = gate.Open();
  const std::string request = Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n");
  CHECK(StatusOf(gate.Ask(*guest, request)) == 403);
  gate.RunUntil([&] { return !gate.terminated.empty(); });
  CHECK(StatusOf(gate.Ask(*guest, request)) == 403);
  CHECK(gate.terminated.size() == 1);
}

TEST_CASE("a message that would show a value shows its placeholder") {
  SecretGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    return policy::FakeEngine::Deny({.reason = Reason::kDeniedByHook,
                                     .status = 403,
                                     .detail = std::string("no ") + kValue,
                                     .rule = {},
                                     .how_to_allow = {}});
  });
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK_FALSE(Contains(answer, kValue));
  CHECK(Contains(answer, gate.placeholder));
  CHECK_FALSE(Contains(gate.LastRecord().detail, kValue));
}

// What must agree before a value goes out, where it is less than all five names: the table in
// docs/policy-reference.md.

TEST_CASE("sent elsewhere by `to`, a value goes only to a server that proves the asked name") {
  const TestCertificate of_the_target = MakeTestCertificate(
      {.name = "mirror.test", .dns = "mirror.test", .ip = "127.0.0.1", .issuer = &Roots()});
  for (const TestCertificate* certificate : {&of_the_target, &ApiCertificate()}) {
    for (const char* to : {"127.0.0.1:9999", "mirror.test:443"}) {
      INFO(to);
      SecretGate gate(Spec("api.test"), certificate);
      HttpFlow flow = gate.Flow();
      policy::RuleOf(flow.verdict).rare.Edit().to = *ParseAuthority(to);
      auto guest = gate.Open({}, flow);
      const std::string answer =
          gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
      const bool proved = certificate == &ApiCertificate();
      CHECK(StatusOf(answer) == (proved ? 200 : 502));
      CHECK(Contains(answer, kValue) == proved);
      CHECK(Contains(answer, "Host: api.test\r\n") == proved);
      CHECK((gate.origin.received() > 0) == proved);
    }
  }
}

TEST_CASE("sent elsewhere by `to`, a value of the target's own name stays a placeholder") {
  SecretGate gate(Spec("mirror.test"));
  HttpFlow flow = gate.Flow();
  policy::RuleOf(flow.verdict).rare.Edit().to = *ParseAuthority("mirror.test");
  auto guest = gate.Open({}, flow);
  const std::string answer =
      gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
  CHECK(StatusOf(answer) == 403);
  CHECK(gate.LastRecord().reason == Reason::kSecretWrongHost);
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("without TLS a value goes where it may, and only for the connection's own name") {
  SecretSpec spec = Spec("api.test");
  spec.hosts.push_back(*HostPattern::Parse("other.test"));
  spec.plaintext = true;
  SecretGate gate(spec, nullptr);
  auto guest = gate.OpenPlain();
  const std::string token = "Authorization: Bearer " + gate.placeholder + "\r\n";
  CHECK(Contains(gate.Ask(*guest, Get("/", token)), std::string("Bearer ") + kValue));
  const size_t received = gate.origin.received();
  // Another host of the same secret is another host all the same.
  const std::string other =
      gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: other.test\r\n" + token + "\r\n");
  CHECK(StatusOf(other) == 421);
  CHECK(gate.origin.received() == received);
}

TEST_CASE("without TLS and by `to` a value is for the asked name still") {
  SecretSpec spec = Spec("api.test");
  spec.plaintext = true;
  SecretGate gate(spec, nullptr);
  HttpFlow flow = gate.Flow("api.test", 80);
  policy::RuleOf(flow.verdict).rare.Edit().to = *ParseAuthority("127.0.0.1:9999");
  auto guest = gate.Open({.tls = false}, flow);
  const std::string answer =
      gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
  CHECK(Contains(answer, std::string("Bearer ") + kValue));
  CHECK(Contains(answer, "Host: api.test\r\n"));
}

TEST_CASE("a client that sends no server name gets a value out for its connection's name alone") {
  SecretGate gate;
  auto guest = gate.Open({.sni = ""}, gate.Flow());
  const std::string token = "Authorization: Bearer " + gate.placeholder + "\r\n";
  CHECK(Contains(gate.Ask(*guest, Get("/", token)), std::string("Bearer ") + kValue));
  CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: other.test\r\n" + token + "\r\n")) ==
        421);
}

TEST_CASE("a connection to a literal address takes no value out, whatever its request names") {
  const TestCertificate certificate = MakeTestCertificate(
      {.name = "both", .dns = "api.test", .ip = "203.0.113.5", .issuer = &Roots()});
  SecretSpec spec = Spec("api.test");
  spec.plaintext = true;
  SecretGate gate(spec, &certificate);
  const std::string token = "Authorization: Bearer " + gate.placeholder + "\r\n";
  auto guest = gate.Open({.sni = "", .verify = "203.0.113.5"}, gate.Flow(""));
  CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: 203.0.113.5\r\n" + token + "\r\n")) ==
        403);
  CHECK(gate.LastRecord().reason == Reason::kSecretWrongHost);
  CHECK(StatusOf(gate.Ask(*guest, Get("/", token))) == 421);
  auto named = gate.Open({}, gate.Flow(""));
  CHECK(StatusOf(gate.Ask(*named, Get("/", token))) == 421);
  CHECK(gate.dialer.dialed.empty());
}

}  // namespace
}  // namespace sallyport::mitm
