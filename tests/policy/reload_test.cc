#include "policy/live_engine.h"
#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

std::unique_ptr<Engine> Loaded(std::string text) {
  auto loaded = Load(std::move(text));
  REQUIRE(loaded.engine != nullptr);
  return std::move(loaded.engine);
}

std::string Terms(std::string text, const Facts& facts) {
  return Loaded(std::move(text))->FlowTerms(facts);
}

bool Same(const std::string& before, const std::string& after, const Facts& facts) {
  return Terms(before, facts) == Terms(after, facts);
}

const Facts kWeb = Policy::Named("a.example", 443);

TEST_CASE("a grant of the policy before is decided by the one after") {
  LiveEngine live(Loaded("allow.http { host = 'a.example' }"));
  const FlowVerdict flow = live.DecideFlow(kWeb);
  REQUIRE(flow.http);
  const auto allows = [&](std::string_view path) {
    RequestHead request = Policy::Head("GET", path);
    return live.DecideRequest(*flow.http, kWeb, {}, request).action ==
           RequestVerdict::Action::kForward;
  };
  CHECK(allows("/x"));
  CHECK(live.generation() == 1);
  live.Replace(
      Loaded("deny.http { host = 'b.example' }\n"
             "allow.http { host = 'a.example', path = '/y' }"));
  CHECK(live.generation() == 2);
  CHECK_FALSE(allows("/x"));
  CHECK(allows("/y"));
  live.Replace(Loaded("allow.http { host = 'b.example' }"));
  CHECK_FALSE(allows("/y"));
  live.Replace(Loaded("allow.http { host = 'a.example' }"));
  CHECK(allows("/x"));
}

TEST_CASE("a grant whose connection would go elsewhere now is refused, not followed") {
  LiveEngine live(Loaded("allow.http { host = 'a.example', to = '127.0.0.1:80' }"));
  const FlowVerdict flow = live.DecideFlow(kWeb);
  for (const char* text : {"allow.http { host = 'a.example' }", "allow.tcp { host = 'a.example' }",
                           "allow.http { host = 'a.example', tls = 'passthrough' }"}) {
    live.Replace(Loaded(text));
    RequestHead request = Policy::Head("GET", "/");
    const auto verdict = live.DecideRequest(*flow.http, kWeb, {}, request);
    CHECK(verdict.action == RequestVerdict::Action::kDeny);
    CHECK(verdict.refusal.status == 421);
  }
}

TEST_CASE("a function of the policy before is not called after it") {
  LiveEngine live(Loaded(R"(on.connect(function(conn)
    local m = conn:match_http("a.example")
    if m then m:accept(function(req) req:respond { status = 204 } end) end end))"));
  const FlowVerdict flow = live.DecideFlow(kWeb);
  REQUIRE(flow.http);
  live.Replace(Loaded("allow.http { host = 'a.example' }"));
  RequestHead request = Policy::Head("GET", "/");
  CHECK(live.DecideRequest(*flow.http, kWeb, {}, request).action ==
        RequestVerdict::Action::kForward);
}

TEST_CASE("the terms of a flow are the same where the policies say the same of it") {
  const std::string rule = "allow.http { host = 'a.example', method = 'GET', path = '/x' }";
  CHECK(Same(rule, "\n\nallow.tcp { host = 'b.example' }\n" + rule, kWeb));
  for (const char* other :
       {"allow.http { host = 'a.example', method = 'GET', path = '/y' }",
        "allow.http { host = 'a.example', method = 'PUT', path = '/x' }",
        "allow.http { host = 'a.example', method = 'GET' }",
        "allow.http { host = 'a.example', method = 'GET', path = '/x', otherwise = 'no' }",
        "allow.http { host = 'a.example', method = 'GET', path = '/x', header = { a = 'b' } }",
        "allow.http { host = 'a.example', method = 'GET', path = '/x', resolves_to = 'private' }",
        "allow.http { host = 'a.example', method = 'GET', path = '/x', to = '127.0.0.1:1' }",
        "allow.http { host = 'a.example', tls = 'passthrough' }",
        "allow.tcp { host = 'a.example' }", "allow.tcp { host = 'b.example' }"}) {
    INFO(other);
    CHECK_FALSE(Same(rule, other, kWeb));
  }
  CHECK_FALSE(Same(rule, "deny.http { host = 'a.example', path = '/x/y' }\n" + rule, kWeb));
  CHECK(Terms("allow.tcp { host = 'b.example' }", kWeb).empty());
}

TEST_CASE("terms with callbacks that see the requests are never those of another policy") {
  const std::string hooked =
      "allow.http { host = 'a.example' } on.request('a.example', function() end)";
  const auto one = Loaded(hooked);
  const auto other = Loaded(hooked);
  CHECK(one->FlowTerms(kWeb) == one->FlowTerms(kWeb));
  CHECK(one->FlowTerms(kWeb) != other->FlowTerms(kWeb));
}

}  // namespace
}  // namespace sallyport::policy
