#include "base/address_class.h"
#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

TEST_CASE("an empty policy denies everything") {
  Policy policy("");
  CHECK(policy.Action(Policy::Named("example.com", 443)) == "deny");
  CHECK(policy.Action(Policy::Direct("8.8.8.8:53", Transport::kUdp)) == "deny");
  CHECK_FALSE(policy.Resolves("example.com"));
}

TEST_CASE("http rules take ports 80 and 443 unless they name others") {
  Policy policy(R"(allow.http { host = "a.example.com" }
                   allow.http { host = "b.example.com", port = { 8080, { from = 9000, to = 9010 } } })");
  CHECK(policy.Action(Policy::Named("a.example.com", 80)) == "http");
  CHECK(policy.Action(Policy::Named("a.example.com", 443)) == "http");
  CHECK(policy.Action(Policy::Named("a.example.com", 8080)) == "deny");
  CHECK(policy.Action(Policy::Named("b.example.com", 443)) == "deny");
  CHECK(policy.Action(Policy::Named("b.example.com", 8080)) == "http");
  CHECK(policy.Action(Policy::Named("b.example.com", 9005)) == "http");
  CHECK(policy.Action(Policy::Named("b.example.com", 9011)) == "deny");
  CHECK(policy.Action(Policy::Named("a.example.com", 443, Transport::kUdp)) == "deny");
}

TEST_CASE("hosts match exactly, below a zone, or all") {
  Policy policy(R"(allow.tcp { host = "*.zone.example", port = 22 }
                   allow.tcp { host = { "one.example", "two.example" }, port = 23 }
                   allow.udp { host = any, port = 123 })");
  CHECK(policy.Action(Policy::Named("a.b.zone.example", 22)) == "raw");
  CHECK(policy.Action(Policy::Named("zone.example", 22)) == "deny");
  CHECK(policy.Action(Policy::Named("two.example", 23)) == "raw");
  CHECK(policy.Action(Policy::Named("sub.two.example", 23)) == "deny");
  CHECK(policy.Action(Policy::Named("whatever.example", 123, Transport::kUdp)) == "raw");
}

TEST_CASE("the first rule that matches decides") {
  Policy policy(R"(deny.tcp { host = "bad.zone.example", reason = "not that one" }
                   allow.tcp { host = "*.zone.example", port = 22 })");
  const auto denied = policy.Flow(Policy::Named("bad.zone.example", 22));
  CHECK(denied.action == FlowVerdict::Action::kDeny);
  CHECK(denied.refusal.reason == Reason::kDeniedByRule);
  CHECK(denied.refusal.rule == "policy.lua:1");
  CHECK(Contains(denied.refusal.detail, "not that one"));
  CHECK(policy.Action(Policy::Named("good.zone.example", 22)) == "raw");
  CHECK_FALSE(policy.Resolves("bad.zone.example"));
  CHECK(policy.Resolves("good.zone.example"));
}

TEST_CASE("icmp rules decide pings, and nothing else") {
  Policy policy(R"(deny.icmp { host = "bad.zone.example", reason = "not that one" }
                   allow.icmp { host = "*.zone.example", resolves_to = "10.0.0.0/8" }
                   allow.icmp { ip = "192.0.2.0/24" }
                   allow.icmp { host = "local.example", to = "127.0.0.1" }
                   allow.tcp { host = "*.tcp.example", port = 22 })");
  const auto named = [](std::string_view host) { return Policy::Named(host, 0, Transport::kIcmp); };
  CHECK(policy.Action(named("a.zone.example")) == "raw");
  CHECK(policy.Flow(named("a.zone.example")).filter.AdmitsForName(*IpAddress::Parse("10.1.2.3")));
  CHECK(Contains(policy.Flow(named("bad.zone.example")).refusal.detail,
                 "ICMP to bad.zone.example is denied by the rule policy.lua:1: not that one"));
  CHECK(policy.Action(Policy::Direct("192.0.2.7:1", Transport::kIcmp)) == "raw");
  CHECK(policy.Action(Policy::Direct("192.0.3.7:1", Transport::kIcmp)) == "deny");
  CHECK(policy.Flow(named("local.example")).to->host == Host(*IpAddress::Parse("127.0.0.1")));
  CHECK(policy.Action(named("a.tcp.example")) == "deny");
  CHECK(policy.Flow(named("a.tcp.example")).refusal.how_to_allow ==
        "allow.icmp { host = \"a.tcp.example\" }");
  CHECK(policy.Action(Policy::Named("a.zone.example", 22)) == "deny");
  CHECK(policy.Resolves("a.zone.example"));
  CHECK_FALSE(policy.Resolves("bad.zone.example"));
}

TEST_CASE("a rule's name is its id") {
  Policy policy(
      "allow.tcp { host = 'a.example', port = 1, name = 'mine' }\nallow.tcp { host = 'b.example', "
      "port = 1 }");
  CHECK(policy.Flow(Policy::Named("a.example", 1)).rule == "mine");
  CHECK(policy.Flow(Policy::Named("b.example", 1)).rule == "policy.lua:2");
}

TEST_CASE("ip rules match flows without a name only, and make nothing resolvable") {
  Policy policy(R"(allow.tcp { ip = { "192.0.2.0/24", "2001:db8::1", "private" }, port = 22 })");
  CHECK(policy.Action(Policy::Direct("192.0.2.77:22")) == "raw");
  CHECK(policy.Action(Policy::Direct("[2001:db8::1]:22")) == "raw");
  CHECK(policy.Action(Policy::Direct("[2001:db8::2]:22")) == "deny");
  CHECK(policy.Action(Policy::Direct("10.1.2.3:22")) == "raw");
  CHECK(policy.Action(Policy::Direct("192.0.2.77:23")) == "deny");
  Facts named = Policy::Named("a.example", 22);
  named.destination.address = *IpAddress::Parse("192.0.2.77");
  CHECK(policy.Action(named) == "deny");
  CHECK_FALSE(policy.Resolves("a.example"));
}

TEST_CASE("special addresses are never public in any form") {
  Policy policy(R"(allow.tcp { ip = "public" })");
  for (const char* special :
       {"10.0.0.1:80", "127.0.0.1:80", "169.254.169.254:80", "168.63.129.16:80",
        "100.100.100.200:80", "0.0.0.0:80", "224.0.0.1:80", "255.255.255.255:80", "198.18.0.1:80",
        "[::1]:80", "[::ffff:127.0.0.1]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:7f00:1::]:80",
        "[fd00:ec2::254]:80", "[fe80::1]:80"}) {
    INFO(special);
    CHECK(policy.Action(Policy::Direct(special)) == "deny");
  }
  CHECK(policy.Action(Policy::Direct("8.8.8.8:80")) == "raw");
  CHECK(policy.Action(Policy::Direct("[64:ff9b::808:808]:80")) == "raw");
}

TEST_CASE("a denied address has no other spelling") {
  Policy policy(R"(deny.tcp { ip = "8.8.8.8" }
                   allow.tcp { ip = "public" })");
  for (const char* spelled :
       {"8.8.8.8:53", "[::ffff:8.8.8.8]:53", "[64:ff9b::808:808]:53", "[2002:808:808::1]:53"}) {
    INFO(spelled);
    CHECK(policy.Action(Policy::Direct(spelled)) == "deny");
  }
  CHECK(policy.Action(Policy::Direct("8.8.4.4:53")) == "raw");
}

TEST_CASE("the verdict says which addresses the destination may have") {
  Policy policy(R"(allow.tcp { host = "db.internal", port = 5432, resolves_to = "10.20.0.0/16" }
                   allow.tcp { ip = "10.9.0.0/16", port = 1 }
                   allow.tcp { host = "public.example", port = 1 })");
  const auto named = policy.Flow(Policy::Named("db.internal", 5432));
  CHECK(named.filter.AdmitsForName(*IpAddress::Parse("10.20.1.1")));
  CHECK_FALSE(named.filter.AdmitsForName(*IpAddress::Parse("10.21.1.1")));
  const auto direct = policy.Flow(Policy::Direct("10.9.1.1:1"));
  CHECK(direct.filter.Admits(*IpAddress::Parse("10.9.1.1")));
  CHECK_FALSE(direct.filter.Admits(*IpAddress::Parse("8.8.8.8")));
  const auto plain = policy.Flow(Policy::Named("public.example", 1));
  CHECK(plain.filter.AdmitsForName(*IpAddress::Parse("8.8.8.8")));
  CHECK_FALSE(plain.filter.AdmitsForName(*IpAddress::Parse("10.20.1.1")));
}

TEST_CASE("a flow may be sent elsewhere by `to`") {
  Policy policy(R"(allow.tcp { host = "host.internal", port = 11434, to = "127.0.0.1:11434" }
                   allow.http { host = "a.example", path = "/x", to = "mock.example:8080" }
                   allow.http { host = "a.example", path = "/y" })");
  const auto verdict = policy.Flow(Policy::Named("host.internal", 11434));
  REQUIRE(verdict.to);
  CHECK(ToString(verdict.to->host) == "127.0.0.1");
  CHECK(verdict.to->port == 11434);
  CHECK(policy.engine().DecideName(Name("host.internal")).chosen_target);
  CHECK_FALSE(policy.engine().DecideName(Name("a.example")).chosen_target);
  // Requests of one flow differ: each says where it goes.
  CHECK_FALSE(policy.Flow(Policy::Named("a.example", 443)).to);
  const auto x = policy.Request("a.example", "GET", "/x");
  REQUIRE(x.to);
  CHECK(x.to->port == 8080);
  CHECK_FALSE(policy.Request("a.example", "GET", "/y").to);
}

TEST_CASE("requests are granted by method, path and header") {
  Policy policy(
      R"(allow.http { host = "api.example.com", method = { "GET", "HEAD" }, path = { "/user", "/repos/**" } }
                   allow.http { host = "api.example.com", method = "POST", header = { ["content-type"] = "application/json" } })");
  CHECK(policy.Forwards("api.example.com", "GET", "/user"));
  CHECK(policy.Forwards("api.example.com", "GET", "/user?x=1"));
  CHECK(policy.Forwards("api.example.com", "HEAD", "/repos/a/b"));
  CHECK(policy.Forwards("api.example.com", "GET", "/repos"));
  CHECK_FALSE(policy.Forwards("api.example.com", "GET", "/users"));
  CHECK_FALSE(policy.Forwards("api.example.com", "DELETE", "/user"));
  CHECK_FALSE(policy.Forwards("api.example.com", "get", "/user"));
  RequestHead post = Policy::Head("POST", "/any");
  CHECK(policy.Request("api.example.com", post).action == RequestVerdict::Action::kDeny);
  post.headers.Add("Content-Type", "application/json");
  CHECK(policy.Request("api.example.com", post).action == RequestVerdict::Action::kForward);
  post.headers.Add("content-type", "text/plain");  // A second field does not hide behind the first.
  CHECK(policy.Request("api.example.com", post).action == RequestVerdict::Action::kDeny);
}

TEST_CASE("a deny within a host stands before what allows the rest") {
  Policy policy(R"(deny.http { host = "api.example.com", path = "/admin/**", reason = "no admin" }
                   allow.http { host = "api.example.com" })");
  CHECK(policy.Forwards("api.example.com", "GET", "/x"));
  const auto verdict = policy.Request("api.example.com", "GET", "/admin/users");
  CHECK(verdict.action == RequestVerdict::Action::kDeny);
  CHECK(verdict.refusal.reason == Reason::kDeniedByRule);
  CHECK(Contains(verdict.refusal.detail, "no admin"));
}

TEST_CASE("`otherwise` ends the matter for its host, whatever follows") {
  Policy policy(
      R"(allow.http { host = "api.example.com", method = "GET", otherwise = "this agent only reads" }
                   allow.http { host = "*.example.com", port = 8080 })");
  CHECK(policy.Forwards("api.example.com", "GET", "/x"));
  const auto verdict = policy.Request("api.example.com", "DELETE", "/x");
  CHECK(verdict.action == RequestVerdict::Action::kDeny);
  CHECK(verdict.refusal.reason == Reason::kDeniedByRule);
  CHECK(verdict.refusal.rule == "policy.lua:1");
  CHECK(Contains(verdict.refusal.detail, "this agent only reads"));
  CHECK(Contains(verdict.refusal.detail, "allows GET"));
}

TEST_CASE("a target whose two forms decide differently is refused") {
  Policy policy(R"(deny.http { host = "a.example", path = "/admin/**" }
                   allow.http { host = "a.example" }
                   allow.http { host = "b.example", path = "/repos/**" })");
  for (const char* path : {"/x/../admin/y", "//admin/y", "/%61dmin/y", "/./admin", "/admin;x/y",
                           "/x\\..\\admin", "/x/..%2fadmin/y", "/%2e/admin"}) {
    INFO(path);
    const auto verdict = policy.Request("a.example", "GET", path);
    CHECK(verdict.action == RequestVerdict::Action::kDeny);
  }
  const auto escape = policy.Request("b.example", "GET", "/repos/../user");
  CHECK(escape.action == RequestVerdict::Action::kDeny);
  CHECK(escape.refusal.reason == Reason::kBadRequest);
  CHECK(escape.refusal.status == 400);
  CHECK(policy.Request("b.example", "GET", "/repos/%00").refusal.reason == Reason::kBadRequest);
  CHECK(policy.Forwards("b.example", "GET", "/repos/@scope%2Fname"));
  CHECK(policy.Forwards("b.example", "GET", "/repos//x"));
}

TEST_CASE("paths that no rule looks at are not judged") {
  Policy policy(R"(allow.http { host = "a.example" })");
  CHECK(policy.Forwards("a.example", "GET", "/x/../y"));
  CHECK(policy.Forwards("a.example", "GET", "/100%"));
  CHECK(policy.Forwards("a.example", "OPTIONS", "*"));
}

TEST_CASE("a denial says what happened and what would allow it") {
  Policy policy(R"(
allow.http { host = "api.github.com", method = { "GET", "HEAD" }, path = "/x" })");
  const auto post = policy.Request("api.github.com", "POST", "/x").refusal;
  CHECK(post.reason == Reason::kNotGranted);
  CHECK(post.status == 403);
  CHECK(post.detail ==
        "POST https://api.github.com/x is not granted: rule policy.lua:2 allows GET, HEAD");
  CHECK(post.how_to_allow ==
        R"(allow.http { host = "api.github.com", method = { "POST" }, path = { "/x" } })");
  const auto path = policy.Request("api.github.com", "GET", "/y?token=z").refusal;
  CHECK(path.detail ==
        "GET https://api.github.com/y is not granted: rule policy.lua:2 allows the paths /x");
  const auto flow = policy.Flow(Policy::Named("db.example", 5432)).refusal;
  CHECK(flow.detail == "TCP to db.example:5432 is not granted: no rule allows it");
  CHECK(flow.how_to_allow == R"(allow.tcp { host = "db.example", port = 5432 })");
  CHECK(policy.Flow(Policy::Named("x.example", 443)).refusal.how_to_allow ==
        R"(allow.http { host = "x.example" })");
  const auto address = policy.Flow(Policy::Direct("10.0.0.1:22")).refusal;
  CHECK(Contains(address.detail, "it is private"));
  CHECK(address.how_to_allow == R"(allow.tcp { ip = "10.0.0.1", port = 22 })");
}

TEST_CASE("what a denial suggests allows what was denied") {
  Policy first("");
  const auto refusal = first.Flow(Policy::Named("db.example", 5432)).refusal;
  Policy second(refusal.how_to_allow);
  CHECK(second.Action(Policy::Named("db.example", 5432)) == "raw");
}

TEST_CASE("hostile text in a request stays harmless in a denial") {
  Policy policy(R"(allow.http { host = "a.example", path = "/x" })");
  const auto refusal =
      policy.Request("a.example", "GET", "/\"\\\n\x01\xff" + std::string(1000, 'a')).refusal;
  CHECK(refusal.detail.find('\n') == std::string::npos);
  CHECK(refusal.detail.size() < 1000);
  CHECK(refusal.how_to_allow.find('\n') == std::string::npos);
}

TEST_CASE("a name is resolvable when some rule can use it") {
  Policy policy(R"(allow.http { host = "api.example.com" }
                   allow.tcp { host = "*.deep.zone.example", port = 22 }
                   allow.dns { host = "txt.example", types = { "TXT", "MX" } }
                   deny.dns { host = "*.denied.example" }
                   allow.udp { host = any, port = 123 })");
  CHECK(policy.Resolves("api.example.com"));
  CHECK(policy.Resolves("x.deep.zone.example"));
  CHECK(policy.Resolves("txt.example"));
  CHECK_FALSE(policy.Resolves("x.denied.example"));
  CHECK(policy.Resolves("anything.example"));
  CHECK(policy.engine().DecideName(Name("txt.example")).types == std::vector<uint16_t>{15, 16});
  CHECK(policy.engine().DecideName(Name("api.example.com")).types.empty());
}

TEST_CASE("ancestors of a grantable name are known") {
  Policy policy(R"(allow.http { host = "api.example.com" }
                   allow.tcp { host = "*.deep.zone.example", port = 22 })");
  for (const char* name : {"example.com", "com", "deep.zone.example", "zone.example", "example"}) {
    INFO(name);
    const auto verdict = policy.engine().DecideName(Name(name));
    CHECK_FALSE(verdict.grantable);
    CHECK(verdict.ancestor);
  }
  CHECK_FALSE(policy.engine().DecideName(Name("api.example.com")).ancestor);
  CHECK_FALSE(policy.engine().DecideName(Name("x.api.example.com")).ancestor);
  CHECK_FALSE(policy.engine().DecideName(Name("other.com")).ancestor);
}

TEST_CASE("a name that only a narrower deny speaks of stays resolvable") {
  Policy policy(R"(deny.tcp { host = "a.example", port = 22 }
                   deny.http { host = "a.example", path = "/admin" }
                   allow.http { host = "*.example" })");
  CHECK(policy.Resolves("a.example"));
  CHECK(policy.Action(Policy::Named("a.example", 22)) == "deny");
  CHECK(policy.Action(Policy::Named("a.example", 443)) == "http");
}

TEST_CASE("the filter of a name is the union of what its rules admit") {
  Policy policy(R"(allow.tcp { host = "a.example", port = 1, resolves_to = "10.0.0.0/8" }
                   allow.tcp { host = "a.example", port = 2, resolves_to = { "192.168.0.0/16" } })");
  const auto filter = policy.engine().DecideName(Name("a.example")).filter;
  CHECK(filter.AdmitsForName(*IpAddress::Parse("10.1.1.1")));
  CHECK(filter.AdmitsForName(*IpAddress::Parse("192.168.1.1")));
  CHECK_FALSE(filter.AdmitsForName(*IpAddress::Parse("172.16.1.1")));
}

TEST_CASE("thousands of rules are found by hash") {
  std::string text;
  for (int i = 0; i < 4000; ++i)
    text += "allow.tcp { host = 'h" + std::to_string(i) + ".example', port = 22 }\n";
  Policy policy(text);
  CHECK(policy.Flow(Policy::Named("h3999.example", 22)).rule == "policy.lua:4000");
  CHECK(policy.Action(Policy::Named("h4000.example", 22)) == "deny");
}

TEST_CASE("a name of as many labels as the DNS allows is looked up") {
  Policy policy(R"(allow.tcp { host = { "*.a", "*.a.a" }, port = 1 })");
  std::string name = "a";
  for (int i = 0; i < 126; ++i) name += ".a";
  CHECK(policy.Action(Policy::Named(name, 1)) == "raw");
}

TEST_CASE("a flow is passed through when the rule that does so is the only one for it") {
  Policy policy(
      "allow.http { host = 'seen.b.example', path = '/x', otherwise = 'no' }\n"
      "allow.http { host = '*.b.example', tls = 'passthrough' }\n"
      "allow.http { host = 'c.example', tls = 'intercept' }");
  CHECK(policy.Flow(Policy::Named("a.b.example", 443)).passthrough);
  CHECK(policy.Flow(Policy::Named("a.b.example", 443)).rule == "policy.lua:2");
  CHECK_FALSE(policy.Flow(Policy::Named("seen.b.example", 443)).passthrough);
  CHECK_FALSE(policy.Flow(Policy::Named("c.example", 443)).passthrough);
  CHECK(policy.Action(Policy::Named("a.b.example", 22)) == "deny");
  CHECK(policy.Resolves("a.b.example"));
}

TEST_CASE("a callback can't pass a flow through") {
  Policy policy(
      "on.connect(function(conn)\n"
      "  local m = conn:match_http { host = 'a.example', tls = 'passthrough' }\n"
      "  if m then m:accept() end\nend)");
  const auto verdict = policy.Flow(Policy::Named("a.example", 443));
  CHECK(verdict.action == FlowVerdict::Action::kDeny);
  CHECK(Contains(verdict.refusal.detail, "belongs to allow.http in the file"));
}

}  // namespace
}  // namespace sallyport::policy
