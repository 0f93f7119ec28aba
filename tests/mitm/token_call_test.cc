#include "mitm/token_call.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "mitm/limits.h"
#include "tests/mitm/http2/harness.h"

// A guest's own calls of a token endpoint, through a whole gate.

namespace sallyport::mitm {
namespace {

using nlohmann::json;

constexpr const char* kValue = "issued-token-0123456789-0123456789";
constexpr const char* kNew = "issued-token-9999999999-0123456789";

/// The secret NAME, whose tokens come from https://api.test/token.
SecretSpec Spec(const std::string& name, std::vector<std::string> scopes = {}) {
  OAuth2Source source;
  source.token_url = *HttpUrl::Parse("https://api.test/token");
  source.client_id = "me";
  source.scopes = std::move(scopes);
  SecretSpec spec;
  spec.name = name;
  spec.source = std::move(source);
  spec.hosts = {*HostPattern::Parse("api.test")};
  return spec;
}

template <class G>
std::string Declare(G& gate, const SecretSpec& spec, const std::string& value = kValue) {
  gate.engine.AddSecret(spec);
  REQUIRE(gate.secrets.Add(spec, std::move(*secrets::Secret::Create(value))));
  return *gate.secrets.PlaceholderOf(spec.name);
}

struct CallGate : TestGate {
  CallGate() : placeholder(Declare(*this, Spec("TOKEN"))) {
    renew = [this](const std::vector<std::string>& names, std::function<void(bool)> done) {
      asked.push_back(names);
      waiting = std::move(done);
      return Pending([this] { waiting = nullptr; });
    };
  }
  /// The broker has answered.
  void Settle() {
    later = loop->Post([this] { std::exchange(waiting, nullptr)(true); });
  }
  json Told(const std::string& answer) {
    return json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
  }

  std::string placeholder;
  std::vector<std::vector<std::string>> asked;
  std::function<void(bool)> waiting;
  Loop::Handle later;
};

std::string Post(const std::string& body, const std::string& fields = "",
                 const std::string& path = "/token") {
  return "POST " + path + " HTTP/1.1\r\nHost: api.test\r\n" + fields +
         "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

constexpr const char* kCall = "grant_type=client_credentials&client_id=me&client_secret=any";

TEST_CASE("a call of a token endpoint is answered with the placeholder, and goes nowhere") {
  CallGate gate;
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Post(kCall));
  CHECK(StatusOf(answer) == 200);
  CHECK(Contains(answer, "Cache-Control: no-store\r\n"));
  CHECK(gate.Told(answer) ==
        json{{"access_token", gate.placeholder}, {"token_type", "Bearer"}, {"expires_in", 3600}});
  CHECK(gate.origin.connections() == 0);
  const AuditRecord& record = gate.LastRecord();
  CHECK(record.reason == Reason::kAnsweredByGate);
  CHECK(record.allowed);
  CHECK(record.status == 200);
  CHECK(record.secrets.empty());
  CHECK(Contains(record.detail, "secret TOKEN"));
  // What it was told works, on the same connection.
  const std::string used =
      gate.Ask(*guest, Get("/", "Authorization: Bearer " + gate.placeholder + "\r\n"));
  CHECK(Contains(used, "Authorization: Bearer " + gate.placeholder));  // Scrubbed on its way back.
  CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
  CHECK(gate.audit.records.size() == 2);
}

TEST_CASE("a call may arrive cut anywhere, with its length or in chunks") {
  CallGate gate;
  auto guest = gate.Open();
  const std::string chunked =
      "POST /token HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n"
      "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
      "10\r\ngrant_type=clien\r\n9\r\nt_credent\r\n4\r\nials\r\n0\r\n\r\n";
  for (const std::string& request : {Post(kCall), chunked}) {
    for (size_t cut = 1; cut < request.size(); ++cut) {
      guest->Send(request.substr(0, cut));
      for (int turn = 0; turn < 3; ++turn) {
        const auto tick = gate.loop->Post([] {});
        REQUIRE(gate.loop->RunOnce());
      }
      const std::string answer = gate.Ask(*guest, request.substr(cut));
      REQUIRE(StatusOf(answer) == 200);
      REQUIRE(gate.Told(answer)["access_token"] == gate.placeholder);
    }
  }
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("the remaining lifetime of the value is told") {
  CallGate gate;
  gate.lifetime = [](std::string_view name) -> std::optional<std::chrono::milliseconds> {
    CHECK(name == "TOKEN");
    return std::chrono::milliseconds(1'234'567);
  };
  auto guest = gate.Open();
  CHECK(gate.Told(gate.Ask(*guest, Post(kCall)))["expires_in"] == 1234);
}

TEST_CASE("a client that waits to send its call is told to go on") {
  CallGate gate;
  auto guest = gate.Open();
  const std::string request = Post(kCall, "Expect: 100-continue\r\n");
  guest->Send(request.substr(0, request.find("\r\n\r\n") + 4));
  gate.RunUntil([&] { return guest->received == "HTTP/1.1 100 Continue\r\n\r\n"; });
  guest->received.clear();
  CHECK(StatusOf(gate.Ask(*guest, kCall)) == 200);
}

TEST_CASE("rules and hooks decide a call first, and other requests there are like any") {
  CallGate gate;
  auto guest = gate.Open();
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
    if (head.path == "/token" && head.method == "POST") {
      Refusal refusal;
      refusal.reason = Reason::kDeniedByRule;
      return policy::FakeEngine::Deny(std::move(refusal));
    }
    return policy::FakeEngine::Forward();
  });
  const std::string denied = gate.Ask(*guest, Post(kCall));
  CHECK(StatusOf(denied) == 403);
  CHECK(Contains(denied, "application/problem+json"));
  CHECK(gate.LastRecord().reason == Reason::kDeniedByRule);
  auto other = gate.Open();  // The first may be closed, as its body was not read.
  CHECK(Contains(gate.Ask(*other, Get("/token")), "GET /token HTTP/1.1"));
  CHECK(Contains(gate.Ask(*other, Post("token=x", "", "/revoke")), "POST /revoke HTTP/1.1"));
}

TEST_CASE("a call without TLS, or on another host's connection, is not answered") {
  CallGate gate;
  auto plain = gate.Open({.tls = false}, gate.Flow("api.test", 80));
  gate.Ask(*plain, Post(kCall));
  CHECK(gate.LastRecord().reason != Reason::kAnsweredByGate);
  auto guest = gate.Open();
  std::string request = Post(kCall);
  request.replace(request.find("api.test"), 8, "evil.test");
  CHECK(StatusOf(gate.Ask(*guest, request)) == 421);
  CHECK(gate.LastRecord().reason == Reason::kHostMismatch);
}

TEST_CASE("what a call can't be answered with is told as OAuth's clients read it") {
  CallGate gate;
  for (const auto& [body, status, error, reason] :
       std::vector<std::tuple<std::string, int, std::string, Reason>>{
           {"grant_type=password&username=a", 400, "unsupported_grant_type",
            Reason::kForeignCredential},
           {"grant_type=client_credentials&client_id=you", 401, "invalid_client",
            Reason::kForeignCredential},
           {"client_id=me", 400, "invalid_request", Reason::kBadRequest},
           {std::string(kMaxTokenCall + 1, 'x'), 413, "invalid_request", Reason::kLimit}}) {
    CAPTURE(error);
    auto guest = gate.Open();
    const std::string answer = gate.Ask(*guest, Post(body));
    CHECK(StatusOf(answer) == status);
    CHECK(Contains(answer, "Content-Type: application/json\r\n"));
    CHECK(gate.Told(answer)["error"] == error);
    CHECK(gate.LastRecord().reason == reason);
    CHECK_FALSE(gate.LastRecord().allowed);
  }
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("a call that means one of two secrets says so, or is refused") {
  CallGate gate;
  const std::string other = Declare(gate, Spec("OTHER", {"read"}), kNew);
  auto guest = gate.Open();
  CHECK(gate.Told(gate.Ask(*guest, Post(std::string(kCall) + "&scope=read")))["access_token"] ==
        other);
  CHECK(gate.Told(gate.Ask(*guest, Post(kCall)))["access_token"] == gate.placeholder);
  const std::string refused = gate.Ask(*guest, Post(std::string(kCall) + "&scope=admin"));
  CHECK(StatusOf(refused) == 400);
  CHECK(Contains(gate.Told(refused)["error_description"], "(TOKEN, OTHER)"));
}

TEST_CASE("a call for an expired value waits for its renewal") {
  CallGate gate;
  REQUIRE(gate.secrets.MakeUnavailable("TOKEN", "its value has expired"));
  auto guest = gate.Open();
  guest->Send(Post(kCall));
  gate.RunUntil([&] { return static_cast<bool>(gate.waiting); });
  CHECK(guest->received.empty());
  REQUIRE(gate.secrets.Rotate("TOKEN", std::move(*secrets::Secret::Create(kNew))));
  gate.Settle();
  CHECK(gate.Told(gate.TakeAnswer(*guest))["access_token"] == gate.placeholder);
  CHECK(gate.asked == std::vector<std::vector<std::string>>{{"TOKEN"}});
  CHECK(StatusOf(gate.Ask(*guest, Post(kCall))) == 200);
  CHECK(gate.asked.size() == 1);
}

TEST_CASE("a call for a value that can't be had is answered 502 with the reason") {
  CallGate gate;
  REQUIRE(gate.secrets.MakeUnavailable("TOKEN", "its value has expired, and it answered 503"));
  auto guest = gate.Open();
  guest->Send(Post(kCall));
  gate.RunUntil([&] { return static_cast<bool>(gate.waiting); });
  gate.Settle();
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 502);
  CHECK(gate.Told(answer)["error"] == "temporarily_unavailable");
  CHECK(Contains(gate.Told(answer)["error_description"], "it answered 503"));
  CHECK(gate.LastRecord().reason == Reason::kSecretUnavailable);
}

TEST_CASE("a guest that leaves during a call leaves nothing behind") {
  CallGate gate;
  auto half = gate.Open();
  half->Send(Post(kCall).substr(0, 200));
  gate.RunUntil([&] { return gate.engine.asked == 1; });
  half.reset();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.audit.records.size() == 1);

  REQUIRE(gate.secrets.MakeUnavailable("TOKEN", "its value has expired"));
  auto guest = gate.Open();
  guest->Send(Post(kCall));
  gate.RunUntil([&] { return static_cast<bool>(gate.waiting); });
  guest.reset();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK_FALSE(gate.waiting);
  CHECK(gate.audit.records.size() == 2);
}

TEST_CASE("the gate may end while a call waits for its value") {
  CallGate gate;
  REQUIRE(gate.secrets.MakeUnavailable("TOKEN", "its value has expired"));
  auto guest = gate.Open();
  guest->Send(Post(kCall));
  gate.RunUntil([&] { return static_cast<bool>(gate.waiting); });
  gate.interceptor.reset();
  CHECK_FALSE(gate.waiting);
}

TEST_CASE("a broken body is the client's fault") {
  CallGate gate;
  auto guest = gate.Open();
  const std::string answer = gate.Ask(
      *guest, "POST /token HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n");
  CHECK(StatusOf(answer) == 400);
  CHECK(gate.LastRecord().reason == Reason::kBadRequest);
}

TEST_CASE("an app's client gets its installation's placeholder, whatever signed its call") {
  TestGate gate;
  GitHubAppSource source;
  source.base_url = *HttpUrl::Parse("https://api.test");
  source.installation_id = "34";
  source.permissions = {{"contents", "read"}};
  SecretSpec spec = Spec("TOKEN");
  spec.source = source;
  const std::string placeholder = Declare(gate, spec);
  auto guest = gate.Open();
  const std::string answer =
      gate.Ask(*guest, Post("", "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.guests-own\r\n",
                            "/app/installations/34/access_tokens"));
  CHECK(StatusOf(answer) == 201);
  const json told = json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
  CHECK(told["token"] == placeholder);
  CHECK(told["permissions"] == json{{"contents", "read"}});
  CHECK(gate.LastRecord().reason == Reason::kAnsweredByGate);
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("calls over HTTP/2 are answered, in any frames") {
  http2::TestSessions gate;
  const std::string placeholder = Declare(gate, Spec("TOKEN"));
  for (size_t cut = 0; cut <= std::string(kCall).size(); cut += 7) {
    auto guest = gate.Open();
    const int32_t id =
        guest->client.Post("/token", {{"content-type", "application/x-www-form-urlencoded"}});
    guest->client.More(id, std::string(kCall).substr(0, cut));
    gate.Settle();
    guest->client.More(id, std::string(kCall).substr(cut));
    guest->client.Finish(id);
    const auto& answer = gate.Await(*guest, id);
    REQUIRE(answer.status == 200);
    CHECK(answer.Field("cache-control") == "no-store");
    CHECK(json::parse(answer.body)["access_token"] == placeholder);
  }
  CHECK(gate.origin.connections() == 0);
}

}  // namespace
}  // namespace sallyport::mitm
