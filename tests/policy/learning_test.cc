#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

/// A policy whose sandbox learns.
class Learning {
 public:
  explicit Learning(std::string text) {
    auto loaded =
        Engine::Load({.text = std::move(text), .name = "policy.lua", .folder = "/home/me/project"},
                     Engine::Uncovered::kLearnt);
    for (const Diagnostic& diagnostic : loaded.diagnostics) UNSCOPED_INFO(diagnostic.ToString());
    engine_ = std::move(loaded.engine);
    REQUIRE(engine_ != nullptr);
  }

  ReadVerdict Flow(const Facts& facts) { return {engine_->DecideFlow(facts), facts}; }
  ReadVerdict Flow(std::string_view host, uint16_t port, Transport transport = Transport::kTcp) {
    return Flow(Policy::Named(host, port, transport));
  }
  RequestVerdict Request(std::string_view host, std::string_view method, std::string_view path) {
    const Facts facts = Policy::Named(host, 443);
    const FlowVerdict flow = engine_->DecideFlow(facts);
    if (flow.action != FlowVerdict::Action::kHttp) return {};
    TlsFacts tls;
    tls.encrypted = true;
    RequestHead head = Policy::Head(method, path);
    return engine_->DecideRequest(*flow.http, facts, tls, head);
  }
  NameVerdict Name(std::string_view name) { return engine_->DecideName(*HostName::Parse(name)); }

 private:
  std::unique_ptr<Engine> engine_;
};

bool IsLearnt(const FlowVerdict& flow, FlowVerdict::Action action) {
  return flow.action == action && flow.learnt && flow.rule() == kLearnRule;
}
bool IsLearnt(const RequestVerdict& request) {
  return request.action == RequestVerdict::Action::kForward && request.learnt &&
         request.rule == kLearnRule;
}
bool IsDenied(const FlowVerdict& flow) {
  return flow.action == FlowVerdict::Action::kDeny && !flow.learnt;
}

using Action = FlowVerdict::Action;

TEST_CASE("what no rule covers is learnt: names, requests, and bytes to other ports") {
  Learning policy("");
  CHECK(policy.Name("a.example.com").grantable);
  CHECK(policy.Name("a.example.com").learnt);
  CHECK_FALSE(policy.Name("a.example.com").listed);
  CHECK(IsLearnt(policy.Flow("a.example.com", 443), Action::kHttp));
  CHECK(IsLearnt(policy.Flow("a.example.com", 80), Action::kHttp));
  CHECK(IsLearnt(policy.Flow("db.example.com", 5432), Action::kRaw));
  CHECK(IsLearnt(policy.Flow("time.example.com", 123, Transport::kUdp), Action::kRaw));
  CHECK(IsLearnt(policy.Request("a.example.com", "POST", "/x")));
}

TEST_CASE("without the flag nothing is learnt, and no policy can ask for it") {
  Policy plain("");
  CHECK(plain.Action(Policy::Named("a.example.com", 443)) == "deny");
  CHECK_FALSE(plain.Resolves("a.example.com"));
  CheckMistakes({{"learn = true sandbox { learn = true }", "learn"},
                 {"sandbox { learn = true }", "learn"},
                 {"allow.learn { host = any }", "allow.learn"},
                 {"use 'learn'", "learn"}});
}

TEST_CASE("a learnt flow has no name but a public address's, and never HTTP/3") {
  Learning policy("");
  const auto flow = policy.Flow("a.example.com", 22);
  CHECK(flow.filter.AdmitsForName(*IpAddress::Parse("11.0.0.1")));
  for (const char* closed : {"10.0.0.1", "127.0.0.1", "169.254.169.254", "192.0.2.1", "fd00::1"}) {
    INFO(closed);
    CHECK_FALSE(flow.filter.AdmitsForName(*IpAddress::Parse(closed)));
  }
  CHECK(IsDenied(policy.Flow(Policy::Direct("11.0.0.1:443"))));
  CHECK(IsDenied(policy.Flow(Policy::Direct("10.0.0.1:22"))));
  CHECK(IsDenied(policy.Flow(Policy::Direct("169.254.169.254:80"))));
  CHECK(IsDenied(policy.Flow("a.example.com", 443, Transport::kUdp)));
  CHECK(IsDenied(policy.Flow("a.example.com", 0, Transport::kIcmp)));
}

TEST_CASE("what a rule decides is decided by it, as without learning") {
  Learning policy(R"(
    deny.http { host = "a.example.com", path = "/admin/**", reason = "not there" }
    allow.http { host = "a.example.com", method = "GET", path = "/api/**" }
    allow.http { host = "b.example.com", method = "GET", otherwise = "reads only" }
    deny.tcp { host = "c.example.com", port = 22 }
    deny.dns { host = "d.example.com" }
    deny.http { host = "e.example.com", port = 8443, path = "/x" })");
  const auto granted = policy.Request("a.example.com", "GET", "/api/1");
  CHECK(granted.rule == "policy.lua:3");
  CHECK_FALSE(granted.learnt);
  CHECK(IsLearnt(policy.Request("a.example.com", "POST", "/api/1")));
  const auto refused = policy.Request("a.example.com", "GET", "/admin/users");
  CHECK(refused.refusal.reason == Reason::kDeniedByRule);
  CHECK_FALSE(refused.learnt);
  CHECK(policy.Request("b.example.com", "POST", "/").refusal.reason == Reason::kDeniedByRule);
  CHECK(IsDenied(policy.Flow("c.example.com", 22)));
  CHECK(IsLearnt(policy.Flow("c.example.com", 23), Action::kRaw));
  CHECK_FALSE(policy.Name("d.example.com").grantable);
  // The requests of a flow of which a rule speaks are seen, whatever its port.
  CHECK(IsLearnt(policy.Flow("e.example.com", 8443), Action::kHttp));
}

TEST_CASE("a path that could be taken for one that is denied is refused while learning, too") {
  Learning policy(R"(deny.http { host = "a.example.com", path = "/admin/**" })");
  CHECK(policy.Request("a.example.com", "GET", "/x/../admin/1").refusal.reason ==
        Reason::kBadRequest);
  CHECK(IsLearnt(policy.Request("a.example.com", "GET", "/x//y")));
  // No rule that is made of it could allow this one.
  CHECK(policy.Request("b.example.com", "GET", "/%zz").refusal.reason == Reason::kBadRequest);
}

TEST_CASE("callbacks are asked before anything is learnt, and what they refuse stays refused") {
  Learning policy(R"(
    on.connect(function(conn)
      if conn.host == "no.example.com" then conn:deny "not this one" end
      if conn.host == "broken.example.com" then error "boom" end
      local own = conn:match_http { host = "own.example.com", path = "/mine/**" }
      if own then own:accept(function(req)
        if req.method == "DELETE" then req:deny { status = 403, reason = "keep it" } end
      end) end
    end)
    on.request("a.example.com", function(req)
      if req.path == "/secret" then req:deny { status = 403, reason = "no" } end
    end))");
  CHECK(policy.Flow("no.example.com", 443).refusal.reason == Reason::kDeniedByHook);
  CHECK_FALSE(policy.Name("no.example.com").grantable);
  CHECK(policy.Flow("broken.example.com", 443).refusal.reason == Reason::kPolicyError);
  CHECK_FALSE(policy.Name("broken.example.com").grantable);
  CHECK_FALSE(policy.Request("own.example.com", "GET", "/mine/1").learnt);
  CHECK(IsLearnt(policy.Request("own.example.com", "GET", "/other")));
  CHECK(policy.Request("own.example.com", "DELETE", "/other").refusal.reason ==
        Reason::kDeniedByHook);
  CHECK(IsLearnt(policy.Request("a.example.com", "GET", "/open")));
  CHECK(policy.Request("a.example.com", "GET", "/secret").refusal.reason == Reason::kDeniedByHook);
}

TEST_CASE("nothing is learnt of a host that rules send elsewhere, or to private addresses") {
  Learning policy(R"(
    allow.http { host = "model.internal", path = "/v1/**", to = "127.0.0.1:11434" }
    allow.http { host = "wiki.corp.example", path = "/public/**", resolves_to = "private" }
    allow.http { host = "c.example.com", path = "/c" })");
  CHECK(policy.Request("model.internal", "GET", "/v1/models").action ==
        RequestVerdict::Action::kForward);
  CHECK(policy.Request("model.internal", "POST", "/admin").refusal.reason == Reason::kNotGranted);
  CHECK(policy.Request("wiki.corp.example", "GET", "/private").refusal.reason ==
        Reason::kNotGranted);
  CHECK(IsLearnt(policy.Request("c.example.com", "GET", "/d")));
}

TEST_CASE("requests to the ports of a secret are seen while learning") {
  Learning policy(R"(
    secret "TOKEN" { from = env "TOKEN", hosts = { "api.example.com" }, ports = { 8443 } })");
  CHECK(IsLearnt(policy.Flow("api.example.com", 8443), Action::kHttp));
  CHECK(IsLearnt(policy.Flow("other.example.com", 8443), Action::kRaw));
}

TEST_CASE("a question to the user stays one") {
  Learning policy(R"(ask.http { host = "a.example.com" } ask.tcp { host = "b.example.com" })");
  CHECK(policy.Request("a.example.com", "GET", "/").action == RequestVerdict::Action::kWait);
  CHECK(policy.Flow("b.example.com", 22).action == Action::kWait);
}

}  // namespace
}  // namespace sallyport::policy
