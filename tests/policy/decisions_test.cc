// What callbacks and several rules together decide, where one could go around the other.

#include "base/address_class.h"
#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

using FlowAction = FlowVerdict::Action;

RequestVerdict RequestWith(Policy& policy, const char* name, const char* value) {
  RequestHead head = Policy::Head("GET", "/x");
  head.headers.Add(name, value);
  return policy.Request("a.example", head);
}

TEST_CASE("a callback can't accept as raw bytes what has to be seen as HTTP") {
  for (const char* watcher :
       {"deny.http { host = 'a.example', path = '/admin/**' }",
        "on.request('a.example', function(req) end)", "on.request(function(req) end)",
        "on.response('*.example', function(res) end)",
        "secret 'TOKEN' { from = env 'TOKEN', hosts = 'a.example' }"}) {
    for (const char* accept :
         {"conn:accept()",
          "local m = conn:match_tcp 'a.example' or conn:match_udp 'a.example' if m then m:accept() end",
          "local m = conn:match_tcp(function() return true end) if m then m:accept { to = '10.0.0.1:443' } "
          "else conn:accept() end"}) {
      INFO(watcher << " " << accept);
      Policy policy(std::string(watcher) + "\non.connect(function(conn)\n" + accept + " end)");
      const auto verdict = policy.Flow(Policy::Named("a.example", 443));
      CHECK(verdict.action == FlowAction::kDeny);
      CHECK(verdict.refusal.reason == Reason::kPolicyError);
      CHECK(Contains(verdict.refusal.detail, "conn:match_http"));
      CHECK(Contains(verdict.refusal.detail, "policy.lua:3"));
      CHECK(policy.Flow(Policy::Named("a.example", 443, Transport::kUdp)).refusal.reason ==
            Reason::kPolicyError);
      CHECK(policy.Action(Policy::Named("a.example", 22)) == "raw");
    }
  }
}

TEST_CASE("raw bytes pass where nothing has to be seen") {
  Policy policy(R"(deny.http { host = "a.example", port = 8080, path = "/admin/**" }
                   secret "TOKEN" { from = env "TOKEN", hosts = "b.example", ports = { 8443 } }
                   on.connect(function(conn) conn:accept() end))");
  CHECK(policy.Action(Policy::Named("a.example", 443)) == "raw");
  CHECK(policy.Action(Policy::Named("a.example", 8080)) == "deny");
  CHECK(policy.Action(Policy::Named("b.example", 443)) == "raw");
  CHECK(policy.Action(Policy::Named("b.example", 8443)) == "deny");
  CHECK(policy.Action(Policy::Named("b.example", 53, Transport::kUdp)) == "raw");
  CHECK(policy.Action(Policy::Direct("8.8.8.8:443")) == "raw");
}

TEST_CASE("a flow to an address is seen where an http rule speaks of the address") {
  Policy policy(R"(deny.http { ip = "8.8.8.0/24", path = "/admin/**" }
                   on.connect(function(conn) conn:accept() end))");
  CHECK(policy.Flow(Policy::Direct("8.8.8.8:443")).refusal.reason == Reason::kPolicyError);
  CHECK(policy.Action(Policy::Direct("8.8.9.8:443")) == "raw");
}

TEST_CASE("the user's yes does not make raw bytes of what has to be seen") {
  Policy policy(R"(on.request("a.example", function(req) end)
                   on.connect(function(conn) conn:ask "may it?" end))");
  auto verdict = policy.Flow(Policy::Named("a.example", 443));
  REQUIRE(verdict.action == FlowAction::kWait);
  verdict = verdict.suspended->Resume(Approval::kApproved);
  CHECK(verdict.action == FlowAction::kDeny);
  CHECK(verdict.refusal.reason == Reason::kPolicyError);
  verdict = policy.Flow(Policy::Named("a.example", 22));
  REQUIRE(verdict.action == FlowAction::kWait);
  CHECK(verdict.suspended->Resume(Approval::kApproved).action == FlowAction::kRaw);
}

TEST_CASE("a rule opens private addresses to its own requests only") {
  Policy policy(R"(
    allow.http { host = "a.example", path = "/status", resolves_to = "10.0.0.0/8" }
    allow.http { host = "*.example" })");
  const IpAddress inside = *IpAddress::Parse("10.1.1.1");
  const auto status = policy.Request("a.example", "GET", "/status");
  REQUIRE(status.filter);
  CHECK(status.filter->AdmitsForName(inside));
  const auto other = policy.Request("a.example", "GET", "/other");
  CHECK(other.action == RequestVerdict::Action::kForward);
  REQUIRE(other.filter);
  CHECK_FALSE(other.filter->AdmitsForName(inside));
  // Where all say the same, the flow's filter is the request's.
  CHECK_FALSE(policy.Request("b.example", "GET", "/").filter);
}

TEST_CASE("a spelling of a path does not choose the addresses") {
  Policy policy(R"(
    allow.http { host = "a.example", path = "/status", resolves_to = "10.0.0.0/8" }
    allow.http { host = "a.example" })");
  CHECK(policy.Request("a.example", "GET", "/x/../status").refusal.reason == Reason::kBadRequest);
}

TEST_CASE("an error in on.connect while a name is looked up is told") {
  Policy policy("on.connect(function(conn)\n error 'boom' end)");
  const auto verdict = policy.engine().DecideName(Name("a.example"));
  CHECK_FALSE(verdict.grantable);
  CHECK(verdict.refusal.reason == Reason::kPolicyError);
  CHECK(Contains(verdict.refusal.detail, "policy.lua:2: boom"));
}

TEST_CASE("a callback may look at a destination that is not known yet") {
  Policy guarded(R"(on.connect(function(conn)
    if conn.dst:is_private() or conn.src.ip == "10.9.9.9" then return conn:deny "inside" end
    local m = conn:match_http "a.example"
    if m then m:accept() end
  end))");
  CHECK(guarded.Resolves("a.example"));
  CHECK(guarded.Action(Policy::Named("a.example", 443)) == "http");
  CHECK_FALSE(guarded.Resolves("b.example"));
}

TEST_CASE("a name that callbacks only grant by its flow's facts is refused with what to write") {
  for (const char* condition :
       {"conn.dst:is_public()", "conn.dst.port == 443",
        "conn.transport == 'tcp' and conn.host == 'a.example'"}) {
    INFO(condition);
    Policy policy("on.connect(function(conn) if " + std::string(condition) +
                  " then conn:accept() end end)");
    const auto verdict = policy.engine().DecideName(Name("a.example"));
    CHECK_FALSE(verdict.grantable);
    CHECK(verdict.refusal.reason == Reason::kNameNotGranted);
    CHECK(Contains(verdict.refusal.detail, "conn:match_tcp"));
  }
  Policy silent("on.connect(function(conn) end)");
  CHECK_FALSE(Contains(silent.engine().DecideName(Name("a.example")).refusal.detail, "match_tcp"));
}

TEST_CASE("a name that a rule leaves nothing of is refused with the rule and its reason") {
  for (const char* text :
       {"deny.http { host = 'a.example', reason = 'never' }",
        "deny.http { host = 'a.example', reason = 'never' }\nallow.http { host = any }",
        "deny.tcp { host = '*.example', reason = 'never' }\nallow.http { host = 'a.example' }",
        "deny.dns { host = 'a.example', reason = 'never' }\nallow.http { host = '*.example' }"}) {
    INFO(text);
    Policy policy(text);
    const auto verdict = policy.engine().DecideName(Name("a.example"));
    CHECK_FALSE(verdict.grantable);
    CHECK(verdict.refusal.reason == Reason::kDeniedByRule);
    CHECK(verdict.refusal.rule == "policy.lua:1");
    CHECK(verdict.refusal.detail == "a.example is denied by the rule policy.lua:1: never");
    CHECK(verdict.refusal.how_to_allow.empty());
  }
  Policy hook("on.connect(function(conn) conn:deny 'not today' end)");
  const auto verdict = hook.engine().DecideName(Name("a.example"));
  CHECK(verdict.refusal.reason == Reason::kDeniedByHook);
  CHECK(Contains(verdict.refusal.detail, "not today"));
}

TEST_CASE("a deny of some requests does not answer for a name that nothing grants") {
  Policy policy("deny.http { host = 'a.example', path = '/x' }\n"
                "deny.tcp { host = 'b.example', port = 25 }");
  for (const char* name : {"a.example", "b.example", "c.example"}) {
    const auto verdict = policy.engine().DecideName(Name(name));
    CHECK(verdict.refusal.reason == Reason::kNameNotGranted);
    CHECK(verdict.refusal.how_to_allow == "allow.http { host = \"" + std::string(name) + "\" }");
  }
}

TEST_CASE("a deny sees a header's value among others, and in any case") {
  Policy policy(R"(deny.http { host = "a.example", header = { ["x-admin"] = "yes" } }
                   allow.http { host = "a.example" })");
  for (const char* value : {"yes", "YES", "yes, no", "no,Yes", "no , yes\t", ",yes"}) {
    INFO(value);
    CHECK(RequestWith(policy, "X-Admin", value).refusal.reason == Reason::kDeniedByRule);
  }
  for (const char* value : {"", "no", "yesterday", "no, yes-ish", "y es"}) {
    INFO(value);
    CHECK(RequestWith(policy, "X-Admin", value).action == RequestVerdict::Action::kForward);
  }
}

TEST_CASE("an allow wants a header's value as it is written") {
  Policy policy(R"(allow.http { host = "a.example", header = { ["x-mode"] = "read" } })");
  CHECK(RequestWith(policy, "x-mode", "read").action == RequestVerdict::Action::kForward);
  for (const char* value : {"READ", "read, write", "write"}) {
    INFO(value);
    CHECK(RequestWith(policy, "x-mode", value).action == RequestVerdict::Action::kDeny);
  }
}

TEST_CASE("a hook can't make a request that a rule denies") {
  for (const char* change :
       {"req.path = '/admin/x'", "req.path = '/y/../admin/x'", "req.method = 'DELETE'"}) {
    INFO(change);
    Policy policy(R"(
      deny.http { host = "a.example", path = "/admin/**", reason = "not there" }
      deny.http { host = "a.example", method = "DELETE" }
      allow.http { host = "a.example" }
      on.request("a.example", function(req) )" + std::string(change) + " end)");
    const auto verdict = policy.Request("a.example", "GET", "/x");
    CHECK(verdict.action == RequestVerdict::Action::kDeny);
    CHECK(verdict.refusal.reason == Reason::kDeniedByRule);
    CHECK(Contains(verdict.refusal.detail, "a callback made another request of it"));
  }
}

TEST_CASE("a hook may rewrite what is granted to what no rule denies") {
  Policy policy(R"(
    deny.http { host = "a.example", path = "/admin/**" }
    allow.http { host = "a.example", path = "/v1/**" }
    on.request("a.example", function(req) req.path = "/v2/x" end))");
  RequestHead head = Policy::Head("GET", "/v1/x");
  CHECK(policy.Request("a.example", head).action == RequestVerdict::Action::kForward);
  CHECK(head.path == "/v2/x");
}

}  // namespace
}  // namespace sallyport::policy
