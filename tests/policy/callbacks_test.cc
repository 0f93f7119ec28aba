#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

using FlowAction = FlowVerdict::Action;
using RequestAction = RequestVerdict::Action;

TEST_CASE("on.connect is asked about flows that no rule decided") {
  Policy policy(R"(
    allow.tcp { host = "ruled.example", port = 22 }
    deny.tcp { host = "denied.example" }
    on.connect(function(conn) conn:accept() end))");
  CHECK(policy.Flow(Policy::Named("ruled.example", 22)).rule == "policy.lua:2");
  CHECK(policy.Action(Policy::Named("denied.example", 22)) == "deny");
  const auto accepted = policy.Flow(Policy::Named("other.example", 22));
  CHECK(accepted.action == FlowAction::kRaw);
  CHECK(accepted.rule == "policy.lua:4");
}

TEST_CASE("no grant means deny") {
  Policy policy("on.connect(function(conn) return true end)");
  const auto verdict = policy.Flow(Policy::Named("a.example", 443));
  CHECK(verdict.action == FlowAction::kDeny);
  CHECK(verdict.refusal.reason == Reason::kNotGranted);
}

TEST_CASE("an error in a callback denies, and says where") {
  Policy policy("on.connect(function(conn)\n conn:accept()\n error('boom')\nend)");
  const auto verdict = policy.Flow(Policy::Named("a.example", 22));
  CHECK(verdict.action == FlowAction::kDeny);
  CHECK(verdict.refusal.reason == Reason::kPolicyError);
  CHECK(Contains(verdict.refusal.detail, "policy.lua:3: boom"));
  CHECK(verdict.refusal.rule == "policy.lua:1");
}

TEST_CASE("a second decision is an error") {
  for (const char* body :
       {"conn:accept() conn:deny 'x'", "conn:deny 'x' conn:accept()", "conn:accept() conn:accept()",
        "local m = conn:match_tcp 'a.example:22' m:accept() m:accept()"}) {
    INFO(body);
    Policy policy(std::string("on.connect(function(conn) ") + body + " end)");
    CHECK(policy.Flow(Policy::Named("a.example", 22)).refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("several on.connect functions are asked in order, for their host") {
  Policy policy(R"(
    on.connect("a.example", function(conn) conn:deny "first" end)
    on.connect(function(conn) if conn.host == "b.example" then conn:accept() end end)
    on.connect("*.example", function(conn) conn:deny "last" end))");
  CHECK(Contains(policy.Flow(Policy::Named("a.example", 22)).refusal.detail, "first"));
  CHECK(policy.Action(Policy::Named("b.example", 22)) == "raw");
  const auto last = policy.Flow(Policy::Named("c.example", 22));
  CHECK(last.refusal.reason == Reason::kDeniedByHook);
  CHECK(Contains(last.refusal.detail, "last"));
}

TEST_CASE("the connection tells what it is") {
  Policy policy(R"(on.connect(function(conn)
    assert(conn.id == 8, conn.id)
    assert(conn.transport == "udp")
    assert(conn.src.ip == "10.0.2.15" and conn.src.port == 40000)
    assert(conn.dst.ip == "192.168.1.1" and conn.dst.port == 53)
    assert(conn.host == nil)
    assert(conn.dst:is_private() and not conn.dst:is_public() and not conn.dst:is_metadata())
    conn:accept()
  end))");
  const auto verdict = policy.Flow(Policy::Direct("192.168.1.1:53", Transport::kUdp));
  CHECK(verdict.refusal.detail == "");
  CHECK(verdict.action == FlowAction::kRaw);
  CHECK(verdict.filter.Admits(*IpAddress::Parse("192.168.1.1")));
  CHECK_FALSE(verdict.filter.Admits(*IpAddress::Parse("192.168.1.2")));
}

TEST_CASE("a callback sees the type of a query, and the aliases that it led to") {
  Policy policy(R"(
    allow.http { host = "ruled.example" }
    on.connect(function(conn)
      local query = conn:match_dns "*.example"
      if query and query.type == "AAAA" then
        assert(query.name == conn.host)
        if #query.chain == 0 or query.chain[#query.chain] == "end.example" then query:accept() end
        query.chain[1] = "changed"
      end
    end))");
  Engine& engine = policy.engine();
  CHECK_FALSE(engine.DecideName(Name("a.example")).grantable);
  const auto first = engine.DecideQuery(Name("a.example"), {.type = 28, .chain = {}});
  CHECK(first.grantable);
  CHECK(first.by_callback);
  const std::vector<HostName> good = {Name("b.test"), Name("end.example")};
  CHECK(engine.DecideQuery(Name("a.example"), {.type = 28, .chain = good}).grantable);
  CHECK_FALSE(engine.DecideQuery(Name("a.example"), {.type = 28, .chain = {Name("b.test")}}).grantable);
  // Rules look at neither.
  const auto ruled = engine.DecideQuery(Name("ruled.example"), {.type = 1, .chain = {Name("b.test")}});
  CHECK(ruled.grantable);
  CHECK_FALSE(ruled.by_callback);
}

TEST_CASE("a callback can grant pings") {
  Policy policy(R"(on.connect(function(conn)
    local ping = conn:match_icmp "*.zone.example"
    if ping then ping:accept { name = "pings" } end
    if conn.transport == "icmp" and conn.host == "other.example" then conn:accept() end
  end))");
  const auto pings = policy.Flow(Policy::Named("a.zone.example", 0, Transport::kIcmp));
  CHECK(pings.action == FlowAction::kRaw);
  CHECK(pings.rule == "pings");
  CHECK(policy.Resolves("a.zone.example"));
  CHECK(policy.Action(Policy::Named("other.example", 0, Transport::kIcmp)) == "raw");
  CHECK(policy.Action(Policy::Named("a.zone.example", 7)) == "deny");
  CHECK(policy.Action(Policy::Named("a.zone.example", 7, Transport::kUdp)) == "deny");
}

TEST_CASE("endpoints answer for every class") {
  for (const auto& [address, predicate] :
       {std::pair("127.0.0.1", "is_loopback"), std::pair("10.0.0.1", "is_private"),
        std::pair("169.254.1.1", "is_link_local"), std::pair("224.0.0.1", "is_multicast"),
        std::pair("255.255.255.255", "is_broadcast"), std::pair("192.0.2.1", "is_documentation"),
        std::pair("240.0.0.1", "is_reserved"), std::pair("169.254.169.254", "is_metadata"),
        std::pair("8.8.8.8", "is_public")}) {
    INFO(address);
    Policy policy("on.connect(function(conn) if conn.dst:" + std::string(predicate) +
                  "() then conn:deny 'yes' end end)");
    CHECK(
        Contains(policy.Flow(Policy::Direct(std::string(address) + ":80")).refusal.detail, "yes"));
  }
}

TEST_CASE("a named flow whose address is not known yet has no ip") {
  Policy policy(
      "on.connect(function(conn) assert(conn.dst.ip == nil and conn.dst.port == 22 and not "
      "conn.dst:is_public()) conn:accept() end)");
  CHECK(policy.Action(Policy::Named("a.example", 22)) == "raw");
}

TEST_CASE("loopback and metadata addresses are granted only by naming them") {
  Policy all("on.connect(function(conn) conn:accept() end)");
  for (const char* address :
       {"169.254.169.254:80", "127.0.0.1:80", "[::ffff:169.254.169.254]:80", "169.254.3.3:80"}) {
    INFO(address);
    const auto verdict = all.Flow(Policy::Direct(address));
    CHECK(verdict.action == FlowAction::kDeny);
    CHECK(verdict.refusal.reason == Reason::kPolicyError);
  }
  Policy named(
      "on.connect(function(conn) local m = conn:match_tcp '169.254.169.254:80' if m then "
      "m:accept() end end)");
  CHECK(named.Action(Policy::Direct("169.254.169.254:80")) == "raw");
  CHECK(named.Action(Policy::Direct("169.254.169.253:80")) == "deny");
}

TEST_CASE("patterns match host, port and transport") {
  struct Row {
    const char* pattern;
    const char* host;
    uint16_t port;
    bool matches;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"'a.example:22'", "a.example", 22, true},
           {"'a.example:22'", "a.example", 23, false},
           {"'a.example'", "a.example", 23, true},
           {"'*.example:22'", "a.example", 22, true},
           {"'*.example'", "example", 22, false},
           {"any", "a.example", 22, true},
           {"{ host = 'a.example', port = { 22, 23 } }", "a.example", 23, true},
           {"{ host = 'b.example' }", "a.example", 23, false},
           {"function(c) return c.host == 'a.example' and c.port == 22 end", "a.example", 22, true},
           {"function(c) return false end", "a.example", 22, false},
           {"'10.0.0.1:22'", "a.example", 22, false}}) {
    INFO(row.pattern << " " << row.host << ":" << row.port);
    Policy policy("on.connect(function(conn) local m = conn:match_tcp(" + std::string(row.pattern) +
                  ") if m then m:accept() end end)");
    CHECK((policy.Action(Policy::Named(row.host, row.port)) == "raw") == row.matches);
    CHECK(policy.Action(Policy::Named(row.host, row.port, Transport::kUdp)) == "deny");
  }
}

TEST_CASE("patterns match flows without a name by address") {
  Policy policy(R"(on.connect(function(conn)
    for _, p in ipairs { "10.0.0.1:22", "10.1.0.0/16:22", "[fd00::1]:22", "fd00:2::/32" } do
      local m = conn:match_tcp(p)
      if m then return m:accept() end
    end
  end))");
  CHECK(policy.Action(Policy::Direct("10.0.0.1:22")) == "raw");
  CHECK(policy.Action(Policy::Direct("10.0.0.2:22")) == "deny");
  CHECK(policy.Action(Policy::Direct("10.1.9.9:22")) == "raw");
  CHECK(policy.Action(Policy::Direct("10.1.9.9:23")) == "deny");
  CHECK(policy.Action(Policy::Direct("[fd00::1]:22")) == "raw");
  CHECK(policy.Action(Policy::Direct("[fd00:2::9]:1")) == "raw");
}

TEST_CASE("a pattern that is none is an error with what to write") {
  for (const char* pattern : {"'https://a.example'", "5", "nil", "{ hots = 'a' }", "''",
                              "'api.*.com'", "'a.example:0'"}) {
    INFO(pattern);
    Policy policy("on.connect(function(conn) conn:match_tcp(" + std::string(pattern) +
                  ") conn:accept() end)");
    CHECK(policy.Flow(Policy::Named("a.example", 22)).refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("match_udp and match_http have their transport and ports") {
  Policy policy(R"(on.connect(function(conn)
    local m = conn:match_udp "a.example:53" or conn:match_http "a.example"
    if m then m:accept() end
  end))");
  CHECK(policy.Action(Policy::Named("a.example", 53, Transport::kUdp)) == "raw");
  CHECK(policy.Action(Policy::Named("a.example", 443)) == "http");
  CHECK(policy.Action(Policy::Named("a.example", 80)) == "http");
  CHECK(policy.Action(Policy::Named("a.example", 8080)) == "deny");
}

TEST_CASE("accept takes options") {
  Policy policy(R"(on.connect(function(conn)
    local m = conn:match_tcp "a.example:22"
    if m then m:accept { resolves_to = "10.0.0.0/8", to = "127.0.0.1:2222" } end
  end))");
  const auto verdict = policy.Flow(Policy::Named("a.example", 22));
  CHECK(verdict.filter.AdmitsForName(*IpAddress::Parse("10.1.1.1")));
  REQUIRE(verdict.to);
  CHECK(verdict.to->port == 2222);
  for (const char* options :
       {"{ reslves_to = 'private' }", "{ resolves_to = 'loopback' }", "5", "function() end"}) {
    INFO(options);
    Policy bad("on.connect(function(conn) conn:match_tcp('a.example:22'):accept(" +
               std::string(options) + ") end)");
    CHECK(bad.Flow(Policy::Named("a.example", 22)).refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("a callback says who is asked about a name") {
  Policy policy(R"(on.connect(function(conn)
    local q = conn:match_dns()
    if not q then return end
    if q.name == "inner.example" then
      return q:accept { resolvers = { "10.0.0.53", "[2001:db8::1]:5353" } }
    end
    if q.name == "odd.example" then return q:accept { resolvers = { "dns.google" } } end
    if q.name == "many.example" then
      local all = {}
      for i = 1, 9 do all[i] = "10.0.0." .. i end
      return q:accept { resolvers = all }
    end
    q:accept()
  end))");
  const auto inner = policy.engine().DecideName(Name("inner.example"));
  CHECK(inner.grantable);
  REQUIRE(inner.resolvers.size() == 2);
  CHECK(inner.resolvers[0].ToString() == "10.0.0.53:53");
  CHECK(inner.resolvers[1].ToString() == "[2001:db8::1]:5353");
  CHECK(policy.engine().DecideName(Name("other.example")).resolvers.empty());
  const auto odd = policy.engine().DecideName(Name("odd.example"));
  CHECK_FALSE(odd.grantable);
  CHECK(Contains(odd.refusal.detail, "'dns.google' is not an address"));
  const auto many = policy.engine().DecideName(Name("many.example"));
  CHECK_FALSE(many.grantable);
  CHECK(Contains(many.refusal.detail, "9 addresses, at most 8"));
}

TEST_CASE("a callback says which kind of answer a name has, or leaves it to the dns block") {
  Policy policy(R"(on.connect(function(conn)
    local q = conn:match_dns()
    if not q then return end
    if q.name == "real.example" then return q:accept { answers = "real" } end
    if q.name == "own.example" then return q:accept { answers = "synthetic" } end
    if q.name == "odd.example" then return q:accept { answers = "raal" } end
    q:accept()
  end))");
  CHECK(policy.engine().DecideName(Name("real.example")).answers == DnsOptions::Answers::kReal);
  CHECK(policy.engine().DecideName(Name("own.example")).answers == DnsOptions::Answers::kSynthetic);
  CHECK_FALSE(policy.engine().DecideName(Name("other.example")).answers);
  const auto odd = policy.engine().DecideName(Name("odd.example"));
  CHECK_FALSE(odd.grantable);
  CHECK(odd.refusal.detail.find("\"real\"") != std::string::npos);
}

TEST_CASE("names that no rule covers are asked about as DNS queries") {
  Policy policy(R"(on.connect(function(conn)
    local q = conn:match_dns "asked.example"
    if q then assert(q.name == "asked.example" and conn.transport == "dns") return q:accept { types = "TXT", resolves_to = "private" } end
    if conn.transport == "dns" and conn.host == "denied.example" then return conn:deny "no" end
    local http = conn:match_http "*.http.example"
    if http then http:accept() end
    conn:match_tcp { host = "tcp.example", port = 22, resolves_to = "10.0.0.0/8" }
    conn:match_udp(function(c) return c.host == "fn.example" end)
  end))");
  const auto asked = policy.engine().DecideName(Name("asked.example"));
  CHECK(asked.grantable);
  CHECK(asked.types == std::vector<uint16_t>{16});
  CHECK(asked.filter.AdmitsForName(*IpAddress::Parse("10.1.1.1")));
  CHECK_FALSE(policy.Resolves("denied.example"));
  CHECK(policy.Resolves("a.http.example"));
  CHECK_FALSE(policy.Resolves("http.example"));
  CHECK(policy.Resolves("fn.example"));
  CHECK_FALSE(policy.Resolves("other.example"));
  const auto tcp = policy.engine().DecideName(Name("tcp.example"));
  CHECK(tcp.grantable);
  CHECK(tcp.filter.AdmitsForName(*IpAddress::Parse("10.1.1.1")));
  CHECK(policy.Action(Policy::Named("tcp.example", 22)) == "deny");  // Interest grants nothing.
}

TEST_CASE("an error while a name is decided makes it unresolvable") {
  Policy policy("on.connect(function(conn) conn:match_http 'a.example' error 'x' end)");
  CHECK_FALSE(policy.Resolves("a.example"));
}

TEST_CASE("a name that a dns rule denies is not asked about") {
  Policy policy("deny.dns { host = 'a.example' }\non.connect(function(conn) conn:accept() end)");
  CHECK_FALSE(policy.Resolves("a.example"));
  CHECK(policy.Resolves("b.example"));
}

TEST_CASE("a secret's handle is its placeholder in callbacks") {
  Policy policy(R"(local token = secret "TOKEN" { from = env "TOKEN", hosts = "a.example" }
    allow.http { host = "a.example" }
    on.request(function(req)
      req.headers.authorization = "Bearer " .. token
      req.headers["x-tail"] = token .. "!"
      req.headers["x-plain"] = token
      req.headers["x-text"] = tostring(token)
    end))");
  CHECK(policy.Request("a.example", "GET", "/").refusal.reason ==
        Reason::kPolicyError);  // No placeholder yet.
  policy.engine().SetPlaceholder("TOKEN", "ph_123");
  RequestHead head = Policy::Head("GET", "/");
  CHECK(policy.Request("a.example", head).action == RequestAction::kForward);
  CHECK(*head.headers.Find("authorization") == "Bearer ph_123");
  CHECK(*head.headers.Find("x-tail") == "ph_123!");
  CHECK(*head.headers.Find("x-plain") == "ph_123");
  CHECK(*head.headers.Find("x-text") == "ph_123");
}

TEST_CASE("a secret's handle can be put wherever a hook may write") {
  Policy policy(
      R"(local token = secret "TOKEN" { from = env "TOKEN", hosts = "a.example", expose = false,
                                                 query = true, path = true }
    local other = secret "OTHER" { from = env "OTHER", hosts = "a.example" }
    on.connect(function(conn)
      local http = conn:match_http "a.example"
      if not http then return end
      http:accept(function(req)
        if req.headers["x-was"] == "Bearer " .. token then req.headers["x-same"] = "yes" end
        req.path = "/bot" .. token .. req.path
        req.query = "key=" .. token .. "&n=" .. 1
        req.headers["x-two"] = token .. ":" .. other
        req.headers["x-list"] = { "a", token, "b " .. other }
        req.headers["x-format"] = string.format("Bearer %s", token)
      end)
    end))");
  policy.engine().SetPlaceholder("TOKEN", "ph_123");
  policy.engine().SetPlaceholder("OTHER", "ph_456");
  RequestHead head = Policy::Head("GET", "/me");
  head.headers.Add("x-was", "Bearer ph_123");
  CHECK(policy.Request("a.example", head).action == RequestAction::kForward);
  CHECK(head.Target() == "/botph_123/me?key=ph_123&n=1");
  CHECK(*head.headers.Find("x-two") == "ph_123:ph_456");
  CHECK(head.headers.FindAll("x-list") == std::vector<std::string_view>{"a", "ph_123", "b ph_456"});
  CHECK(*head.headers.Find("x-format") == "Bearer ph_123");
  CHECK(*head.headers.Find("x-same") == "yes");
}

TEST_CASE("a secret's handle is nothing but its placeholder") {
  for (const char* use :
       {"local x = token + 1", "local x = token.value", "token.value = 'x'",
        "local x = token .. {}", "local x = token .. nil", "token { hosts = 'b' }",
        "local x = getmetatable(token).__index", "req.method = token .. '\\n'"}) {
    INFO(use);
    Policy policy(R"(local token = secret "TOKEN" { from = env "TOKEN", hosts = "a.example" }
      allow.http { host = "a.example" }
      on.request(function(req) )" +
                  std::string(use) + " end)");
    policy.engine().SetPlaceholder("TOKEN", "ph_123");
    CHECK(policy.Request("a.example", "GET", "/").refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("objects that a callback keeps are dead in the next") {
  Policy policy(R"(local kept, kept_headers, kept_match
    allow.http { host = "a.example" }
    on.connect(function(conn)
      if kept_match then kept_match:accept() end
      if kept then kept:accept() end
      kept = conn
      kept_match = conn:match_tcp "b.example:22"
      conn:deny "first"
    end)
    on.request(function(req)
      if kept_headers then kept_headers["x-late"] = "1" end
      kept_headers = req.headers
    end))");
  CHECK(Contains(policy.Flow(Policy::Named("b.example", 22)).refusal.detail, "first"));
  const auto second = policy.Flow(Policy::Named("c.example", 22));
  CHECK(second.refusal.reason == Reason::kPolicyError);
  CHECK(Contains(second.refusal.detail, "a policy can't keep it"));
  CHECK(policy.Forwards("a.example", "GET", "/"));
  CHECK(policy.Request("a.example", "GET", "/").refusal.reason == Reason::kPolicyError);
}

TEST_CASE("objects can't be taken for each other") {
  for (const char* body :
       {"conn.match_http(conn.src, 'x')", "conn.accept(conn.src)", "conn.src.is_private(conn)",
        "conn.match_tcp('x', 'y')", "getmetatable(conn).x = 1", "setmetatable(conn, {})",
        "rawset(conn, 1, 2)", "conn.accept({})", "conn.x = 1", "local x = conn.hots",
        "conn:ask {}", "conn:deny(5)", "conn:accept(5)", "conn.src.x = 1",
        "local x = conn.src.prot"}) {
    INFO(body);
    Policy policy("on.connect(function(conn) " + std::string(body) + " conn:accept() end)");
    CHECK(policy.Flow(Policy::Named("a.example", 22)).refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("a grant may outlive its engine") {
  std::shared_ptr<HttpGrant> grant;
  {
    Policy policy(
        "on.connect(function(conn) local m = conn:match_http 'a.example' if m then "
        "m:accept(function(req) end) end end)");
    grant = policy.Flow(Policy::Named("a.example", 443)).http;
    REQUIRE(grant != nullptr);
  }
  grant.reset();
}

TEST_CASE("a script may keep values of its own between callbacks") {
  Policy policy(R"(local count = 0
    on.connect(function(conn) count = count + 1 conn:deny(tostring(count)) end))");
  CHECK(Contains(policy.Flow(Policy::Named("a.example", 22)).refusal.detail, ": 1"));
  CHECK(Contains(policy.Flow(Policy::Named("a.example", 22)).refusal.detail, ": 2"));
}

std::string Told(const LogLine& line) {
  return std::string(line.level == LogLine::Level::kWarn ? "warn " : "info ") + line.place + "/" +
         std::to_string(line.flow) + ": " + line.message;
}

TEST_CASE("log tells text and tables, with the place and the flow, and leaves the decision alone") {
  Policy policy(R"(on.connect(function(conn)
    log.info("to " .. conn.host)
    log.warn { b = "x \"y\"", a = 1, c = true, 2.5, d = {}, e = conn }
    conn:accept()
  end))");
  std::vector<std::string> told;
  policy.engine().SetLog([&told](const LogLine& line) { told.push_back(Told(line)); });
  CHECK(policy.Action(Policy::Named("a.example", 22)) == "raw");
  CHECK(told == std::vector<std::string>{
                    "info policy.lua:2/7: to a.example",
                    "warn policy.lua:3/7: [1]=2.5 a=1 b=\"x \\\"y\\\"\" c=true d=(a table) e=(an object)"});
}

TEST_CASE("what a file logs while it is read is told when there is a log, and only so much of it") {
  Policy policy("log.info 'loaded' for i = 1, 100 do log.info(tostring(i)) end");
  std::vector<std::string> told;
  policy.engine().SetLog([&told](const LogLine& line) { told.push_back(Told(line)); });
  REQUIRE(told.size() == 16);
  CHECK(told.front() == "info policy.lua:1/0: loaded");
}

TEST_CASE("log cuts what is long, takes bytes of any kind, and refuses what is no text") {
  Policy policy(R"(on.connect(function(conn)
    if conn.dst.port == 22 then log.info(("x"):rep(10000)) end
    if conn.dst.port == 23 then log.info "\0\255\n" end
    if conn.dst.port == 24 then local t = {} for i = 1, 1000 do t["k" .. i] = ("v"):rep(100) end log.info(t) end
    if conn.dst.port == 25 then log.info(7) end
    conn:accept()
  end))");
  std::vector<std::string> told;
  policy.engine().SetLog([&told](const LogLine& line) { told.push_back(line.message); });
  for (const uint16_t port : std::initializer_list<uint16_t>{22, 23, 24}) {
    CHECK(policy.Action(Policy::Named("a.example", port)) == "raw");
  }
  REQUIRE(told.size() == 3);
  CHECK(told[0].size() == kMaxLogMessage);
  CHECK(told[1] == std::string("\0\xff\n", 3));
  CHECK(told[2].size() == kMaxLogMessage);
  CHECK(policy.Action(Policy::Named("a.example", 25)) == "deny");
}

}  // namespace
}  // namespace sallyport::policy
