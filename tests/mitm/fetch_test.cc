#include "mitm/limits.h"
#include "tests/mitm/harness.h"

// Requests that the policy's own callbacks make.

namespace sallyport::mitm {
namespace {

using policy::Fetched;
using policy::FetchWait;

struct Fetching : TestGate {
  using TestGate::TestGate;

  Pending Fetch(FetchWait wanted) {
    policy::Facts cause;
    cause.flow = 9;
    return interceptor->Fetch(wanted, cause, [this](Fetched fetched) { result = std::move(fetched); });
  }
  Fetched Await(FetchWait wanted) {
    result.reset();
    const Pending pending = Fetch(std::move(wanted));
    CHECK_FALSE(result.has_value());
    RunUntil([this] { return result.has_value(); });
    return *result;
  }

  std::optional<Fetched> result;
};

FetchWait Of(const std::string& url, const std::string& body = {}) {
  FetchWait wanted;
  wanted.url = *HttpUrl::Parse(url);
  wanted.method = body.empty() ? "GET" : "POST";
  wanted.body = body;
  wanted.timeout = policy::kFetchTimeout;
  wanted.rule = "policy.lua:7";
  return wanted;
}

TEST_CASE("a fetch is answered, without asking the policy, and has its record") {
  Fetching gate;
  gate.engine.OnResponse([](const RequestHead&, ResponseHead&) {
    FAIL("a callback sees a callback's own request");
    return policy::ResponseVerdict();
  });
  FetchWait wanted = Of("https://api.test/check?x=1", "the body");
  wanted.headers.Add("X-Mine", "yes");
  const Fetched fetched = gate.Await(wanted);
  CHECK(fetched.error == "");
  CHECK(fetched.status == 200);
  CHECK(fetched.body.starts_with("POST /check?x=1 HTTP/1.1\r\nHost: api.test\r\n"));
  CHECK(Contains(fetched.body, "X-Mine: yes\r\n"));
  CHECK(fetched.body.ends_with("the body"));
  CHECK(gate.engine.asked == 0);
  const AuditRecord& record = gate.LastRecord();
  CHECK(record.rule == "policy.lua:7");
  CHECK(record.transport == "https");
  CHECK(record.name == "api.test");
  CHECK(record.path == "/check");
  CHECK(record.flow == 9);
  CHECK(record.status == 200);
  CHECK(gate.Await(Of("https://api.test/again")).status == 200);
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("a fetch carries a secret to its hosts only, and its answer shows none") {
  Fetching gate;
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("api.test")};
  REQUIRE(gate.secrets.Add(
      std::move(spec), *secrets::Secret::Create("ghp_TheRealValueOfThisToken0123456789")));
  const std::string placeholder = *gate.secrets.PlaceholderOf("TOKEN");
  FetchWait wanted = Of("https://api.test/");
  wanted.headers.Add("Authorization", "Bearer " + placeholder);
  const Fetched fetched = gate.Await(wanted);
  CHECK(Contains(fetched.body, "Authorization: Bearer " + placeholder));
  CHECK_FALSE(Contains(fetched.body, "TheRealValue"));
  CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
  wanted.url = *HttpUrl::Parse("https://other.test/");
  const Fetched refused = gate.Await(wanted);
  CHECK(refused.status == 0);
  CHECK_FALSE(refused.error.empty());
  CHECK(gate.LastRecord().reason == Reason::kSecretWrongHost);
}

TEST_CASE("a fetch that fails says why") {
  SECTION("a server with the wrong certificate") {
    Fetching gate;
    const Fetched fetched = gate.Await(Of("https://other.test/"));
    CHECK(fetched.status == 0);
    CHECK(gate.LastRecord().reason == Reason::kUpstreamTls);
    CHECK_FALSE(fetched.error.empty());
  }
  SECTION("an answer that is too long") {
    Fetching gate([](Origin::Connection& connection) {
      connection.ReadHead();
      connection.Answer(std::string(policy::kMaxScriptBody + 1, 'x'));
    });
    CHECK(gate.Await(Of("https://api.test/")).error == "the answer is longer than 1 MiB");
  }
  SECTION("an answer of just the length") {
    Fetching gate([](Origin::Connection& connection) {
      connection.ReadHead();
      connection.Answer(std::string(policy::kMaxScriptBody, 'x'));
    });
    CHECK(gate.Await(Of("https://api.test/")).body.size() == policy::kMaxScriptBody);
  }
  SECTION("no answer in time") {
    Fetching gate([](Origin::Connection& connection) {
      connection.ReadHead();
      while (!connection.Read().empty()) {
      }
    });
    const Pending pending = gate.Fetch(Of("https://api.test/"));
    gate.RunUntil([&] { return gate.origin.received() > 0; });
    gate.Pass(policy::kFetchTimeout, [&] { return gate.result.has_value(); });
    CHECK(gate.result->error == "no answer in time");
  }
}

TEST_CASE("a fetch that nobody waits for is ended, and too many are refused") {
  Fetching gate([](Origin::Connection& connection) {
    connection.ReadHead();
    while (!connection.Read().empty()) {
    }
  });
  {
    const Pending pending = gate.Fetch(Of("https://api.test/"));
    gate.RunUntil([&] { return gate.origin.received() > 0; });
  }
  gate.Settle();
  CHECK_FALSE(gate.result.has_value());
  CHECK(gate.audit.records.size() == 1);
  std::vector<Pending> many;
  for (size_t i = 0; i < kMaxFetches; ++i) many.push_back(gate.Fetch(Of("https://api.test/")));
  CHECK(gate.Await(Of("https://api.test/")).error == "too many fetches are under way");
}

}  // namespace
}  // namespace sallyport::mitm
