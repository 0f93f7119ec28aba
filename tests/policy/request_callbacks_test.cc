#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

using FlowAction = FlowVerdict::Action;
using RequestAction = RequestVerdict::Action;

TEST_CASE("requests of an accepted flow go to its function") {
  Policy policy(R"(on.connect(function(conn)
    local http = conn:match_http "api.example.com"
    if http then
      http:accept(function(req)
        if req.path:find("/admin", 1, true) == 1 then return req:deny { status = 404, reason = "no admin" } end
        req.headers["x-added"] = "yes"
      end)
    end
  end))");
  RequestHead head = Policy::Head("GET", "/x");
  CHECK(policy.Request("api.example.com", head).action == RequestAction::kForward);
  REQUIRE(head.headers.Find("x-added"));
  CHECK(*head.headers.Find("x-added") == "yes");
  const auto denied = policy.Request("api.example.com", "GET", "/admin/x");
  CHECK(denied.action == RequestAction::kDeny);
  CHECK(denied.refusal.reason == Reason::kDeniedByHook);
  CHECK(denied.refusal.status == 404);
  CHECK(Contains(denied.refusal.detail, "no admin"));
}

TEST_CASE("a hook that refuses one form of a path refuses the others") {
  Policy policy(R"(allow.http { host = "a.example" }
    on.request(function(req)
      if req.path:find("/admin", 1, true) == 1 then req:deny "no admin" end
    end))");
  for (const char* path : {"//admin", "/%61dmin", "/x/../admin", "/./admin"}) {
    INFO(path);
    const auto verdict = policy.Request("a.example", "GET", path);
    CHECK(verdict.action == RequestAction::kDeny);
    CHECK(verdict.refusal.reason == Reason::kBadRequest);
  }
  CHECK(policy.Forwards("a.example", "GET", "/x//y"));
}

TEST_CASE("a pattern's request conditions hold for the accepted flow") {
  Policy policy(R"(on.connect(function(conn)
    local m = conn:match_http { host = "a.example", method = "GET", path = "/ok/**" }
    if m then m:accept() end
  end))");
  CHECK(policy.Forwards("a.example", "GET", "/ok/x"));
  CHECK_FALSE(policy.Forwards("a.example", "POST", "/ok/x"));
  CHECK_FALSE(policy.Forwards("a.example", "GET", "/other"));
}

TEST_CASE("a deny rule for some requests holds for an accepted flow") {
  Policy policy(R"(deny.http { host = "a.example", path = "/admin" }
    on.connect(function(conn) local m = conn:match_http "a.example" if m then m:accept() end end))");
  CHECK(policy.Forwards("a.example", "GET", "/x"));
  CHECK_FALSE(policy.Forwards("a.example", "GET", "/admin"));
}

TEST_CASE("on.request runs in file order, for its hosts, and never grants") {
  Policy policy(R"(allow.http { host = { "a.example", "b.example" }, method = "GET" }
    on.request(function(req) req.headers["x-order"] = "1" end)
    on.request("a.example", function(req) req.headers["x-order"] = req.headers["X-Order"] .. "2" end)
    on.request("*.other.example", function(req) error("not here") end))");
  RequestHead a = Policy::Head("GET", "/");
  CHECK(policy.Request("a.example", a).action == RequestAction::kForward);
  CHECK(*a.headers.Find("x-order") == "12");
  RequestHead b = Policy::Head("GET", "/");
  policy.Request("b.example", b);
  CHECK(*b.headers.Find("x-order") == "1");
  CHECK_FALSE(policy.Forwards("a.example", "POST", "/"));
}

TEST_CASE("the request tells what it is") {
  Policy policy(R"(allow.http { host = "a.example" }
    on.request(function(req)
      assert(req.method == "POST" and req.scheme == "https" and req.host == "a.example" and req.port == 443)
      assert(req.path == "/p" and req.query == "q=1")
      assert(req.tls.sni == "a.example" and req.tls.alpn == "h2" and req.tls.version == "TLSv1.3")
      assert(req.conn.id == 7 and req.conn.host == "a.example" and req.conn.transport == "tcp")
      assert(req.headers["X-Multi"] == "1, 2" and req.headers.cookie == "a; b" and req.headers.none == nil)
      local seen = {}
      for name, value in pairs(req.headers) do seen[#seen + 1] = name .. "=" .. value end
      assert(table.concat(seen, ",") == "x-multi=1,x-multi=2,cookie=a,cookie=b", table.concat(seen, ","))
    end))");
  RequestHead head = Policy::Head("POST", "/p?q=1");
  for (const auto& [name, value] : {std::pair("X-Multi", "1"), std::pair("x-multi", "2"),
                                    std::pair("Cookie", "a"), std::pair("cookie", "b")}) {
    head.headers.Add(name, value);
  }
  const auto verdict = policy.Request("a.example", head);
  CHECK(verdict.refusal.detail == "");
  CHECK(verdict.action == RequestAction::kForward);
}

TEST_CASE("plain HTTP has no tls") {
  Policy policy(
      "allow.http { host = 'a.example' }\non.request(function(req) assert(req.tls == nil and "
      "req.query == nil) end)");
  RequestHead head = Policy::Head("GET", "/", "http");
  CHECK(policy.Request("a.example", head, 80).action == RequestAction::kForward);
}

TEST_CASE("a hook may change method, path, query and headers") {
  Policy policy(R"(allow.http { host = "a.example" }
    on.request(function(req)
      req.method = "PUT"
      req.path = "/new%20path"
      req.query = "a=b"
      req.headers["X-Set"] = 5
      req.headers["x-list"] = { "a", "b" }
      req.headers["x-gone"] = nil
    end))");
  RequestHead head = Policy::Head("GET", "/old?x");
  head.headers.Add("X-Gone", "1");
  head.headers.Add("x-set", "old");
  CHECK(policy.Request("a.example", head).action == RequestAction::kForward);
  CHECK(head.method == "PUT");
  CHECK(head.Target() == "/new%20path?a=b");
  CHECK(*head.headers.Find("x-set") == "5");
  CHECK(head.headers.Count("x-list") == 2);
  CHECK(head.headers.Find("x-gone") == nullptr);
}

TEST_CASE("what breaks framing or the message is an error, and nothing is changed") {
  for (const char* body : {"req.headers['Host'] = 'b.example'",
                           "req.headers['content-length'] = '5'",
                           "req.headers['transfer-encoding'] = nil",
                           "req.headers['connection'] = 'close'",
                           "req.headers['upgrade'] = 'x'",
                           "req.headers['te'] = 'trailers'",
                           "req.headers['x'] = 'a\\r\\nb'",
                           "req.headers['x'] = 'a\\0b'",
                           "req.headers['a b'] = 'x'",
                           "req.headers[''] = 'x'",
                           "req.headers[5] = 'x'",
                           "req.headers.x = {}  req.headers.x = { 5, {} }",
                           "req.headers.x = true",
                           "req.headers.x = ('x'):rep(100000)",
                           "for i = 1, 1000 do req.headers['x' .. i] = 'y' end",
                           "req.method = 'G T'",
                           "req.method = 'CONNECT'",
                           "req.method = nil",
                           "req.path = 'x'",
                           "req.path = '/a b'",
                           "req.path = '/a?b'",
                           "req.path = '/a\\nb'",
                           "req.path = '/\\xff'",
                           "req.query = 'a#b'",
                           "req.query = 'a b'",
                           "req.host = 'b.example'",
                           "req.scheme = 'http'",
                           "req.headers = {}",
                           "req.nonsense = 1",
                           "local x = req.nonsense",
                           "req.body = 5",
                           "req.body = nil",
                           "req.body = ('x'):rep(2 << 20)",
                           "req:body {}",
                           "req.conn:accept()",
                           "req.conn:deny 'x'",
                           "req.conn.host = 'x'",
                           "fetch { url = 5 }",
                           "sleep {}",
                           "store.get {}",
                           "allow.http { host = any }",
                           "sandbox {}",
                           "secret 'X'",
                           "_G['undeclared' .. '_name']()",
                           "req:deny { status = 200 }",
                           "req:deny { stauts = 404 }",
                           "req:deny(5)",
                           "req:respond { status = 101 }",
                           "req:respond 'x'",
                           "req:respond { headers = { ['content-length'] = '1' } }",
                           "req:respond { headers = { a = 'x\\n' } }",
                           "req:respond { body = 5 }",
                           "req:deny 'a' req:deny 'b'",
                           "req:respond {} req:deny 'x'",
                           "error()",
                           "error(nil)",
                           "error({})",
                           "local function f() return f() + 1 end f()"}) {
    INFO(body);
    Policy policy(
        "allow.http { host = 'a.example' }\non.request(function(req) req.headers['x-first'] = "
        "'1' " +
        std::string(body) + " end)");
    RequestHead head = Policy::Head("GET", "/");
    const auto verdict = policy.Request("a.example", head);
    CHECK(verdict.action == RequestAction::kDeny);
    CHECK(verdict.refusal.reason == Reason::kPolicyError);
    CHECK(head.headers.fields().empty());
  }
}

TEST_CASE("a hook may answer a request itself") {
  Policy policy(R"(allow.http { host = "a.example" }
    on.request(function(req) req:respond { status = 418, headers = { ["x-a"] = "1", ["set-cookie"] = { "a", "b" } }, body = "teapot" } end)
    on.request(function(req) error("not reached") end))");
  const auto verdict = policy.Request("a.example", "GET", "/");
  REQUIRE(verdict.action == RequestAction::kRespond);
  CHECK(verdict.response.status == 418);
  CHECK(verdict.response.headers.Count("set-cookie") == 2);
  CHECK(*verdict.response.headers.Find("x-a") == "1");
  CHECK(verdict.response_body == "teapot");
  CHECK(verdict.rule == "policy.lua:2");
}

}  // namespace
}  // namespace sallyport::policy
