#include "tests/policy/policy_fixture.h"

// Decisions that wait: what they wait for, and how they go on.

namespace sallyport::policy {
namespace {

using FlowAction = FlowVerdict::Action;
using RequestAction = RequestVerdict::Action;
using std::chrono::milliseconds;

// A request to api.example, and the flow that it comes by, which a decision that waits needs.
struct Asked {
  Asked(Policy& policy, std::string_view method, std::string_view path)
      : head(Policy::Head(method, path)),
        facts(Policy::Named("api.example", 443)),
        flow(policy.Flow(facts)) {
    REQUIRE(flow.action == FlowAction::kHttp);
    tls.encrypted = true;
    verdict = policy.engine().DecideRequest(*flow.http, facts, tls, head);
  }

  const Wait& wait() {
    REQUIRE(verdict.action == RequestAction::kWait);
    return verdict.suspended->wait();
  }
  void Resume(WaitResult result) {
    REQUIRE(verdict.action == RequestAction::kWait);
    const auto suspended = verdict.suspended;
    verdict = suspended->Resume(std::move(result), head);
  }

  RequestHead head;
  Facts facts;
  ReadVerdict flow;
  TlsFacts tls;
  RequestVerdict verdict;
};

TEST_CASE("a request of an ask rule waits for the user, and his answer decides") {
  Policy policy(R"(
    ask.http { host = "api.example", path = "/pay/**", message = "pay?", wait = "5s" }
    allow.http { host = "api.example" })");
  Asked asked(policy, "POST", "/pay/1");
  CHECK(asked.wait() == Wait(AskWait{"pay?", "policy.lua:2", milliseconds(5000), "policy.lua:2"}));
  SECTION("yes") {
    asked.Resume(Approval::kApproved);
    CHECK(asked.verdict.action == RequestAction::kForward);
    CHECK(asked.verdict.rule == "policy.lua:2");
  }
  SECTION("no") {
    asked.Resume(Approval::kDenied);
    CHECK(asked.verdict.action == RequestAction::kDeny);
    CHECK(asked.verdict.refusal.reason == Reason::kApprovalDenied);
    CHECK(asked.verdict.refusal.rule == "policy.lua:2");
  }
  SECTION("no answer in time") {
    asked.Resume(Approval::kPending);
    CHECK(asked.verdict.refusal.reason == Reason::kApprovalPending);
    CHECK(asked.verdict.refusal.how_to_allow == "sandboxctl approvals");
  }
  SECTION("another kind of result is no yes") {
    asked.Resume(Slept{});
    CHECK(asked.verdict.refusal.reason == Reason::kApprovalPending);
  }
  CHECK(Asked(policy, "GET", "/other").verdict.action == RequestAction::kForward);
}

TEST_CASE("a raw flow of an ask rule waits for the user") {
  Policy policy(R"(ask.tcp { host = "db.example", port = 5432, resolves_to = "10.0.0.0/8" })");
  CHECK(policy.Resolves("db.example"));
  const auto waits = policy.Flow(Policy::Named("db.example", 5432));
  REQUIRE(waits.action == FlowAction::kWait);
  CHECK(waits.suspended->wait() == Wait(AskWait{"", "policy.lua:1", kAskLimit, "policy.lua:1"}));
  const ReadVerdict refused = waits.suspended->Resume(Approval::kDenied);
  CHECK(refused.action == FlowAction::kDeny);
  CHECK(refused.refusal.reason == Reason::kApprovalDenied);
  const auto again = policy.Flow(Policy::Named("db.example", 5432));
  const ReadVerdict granted = again.suspended->Resume(Approval::kApproved);
  CHECK(granted.action == FlowAction::kRaw);
  CHECK(granted.rule == "policy.lua:1");
  CHECK(granted.filter.Admits(*IpAddress::Parse("10.1.2.3")));
}

TEST_CASE("the user is asked after the functions, and not about what they refuse") {
  Policy policy(R"(
    ask.http { host = "api.example" }
    on.request("api.example", function(req)
      if req.path == "/no" then req:deny "never" end
      req.headers["x-seen"] = "yes"
    end))");
  CHECK(Asked(policy, "GET", "/no").verdict.refusal.reason == Reason::kDeniedByHook);
  Asked asked(policy, "GET", "/ask");
  CHECK(std::holds_alternative<AskWait>(asked.wait()));
  CHECK(asked.head.headers.Find("x-seen") == nullptr);
  asked.Resume(Approval::kApproved);
  CHECK(asked.verdict.action == RequestAction::kForward);
  CHECK(asked.head.headers.Find("x-seen") != nullptr);
}

TEST_CASE("conn:ask waits, and a yes accepts the flow if nothing else does") {
  Policy policy(R"(
    on.connect("plain.example", function(conn) conn:ask "let it out?" end)
    on.connect("web.example", function(conn)
      local http = conn:match_http "web.example"
      if http then
        conn:ask "the web?"
        http:accept()
      end
    end)
    on.connect("twice.example", function(conn)
      if conn:ask "one" and conn:ask "two" then conn:deny "enough" end
    end))");
  SECTION("raw") {
    CHECK(policy.Resolves("plain.example"));
    const auto waits = policy.Flow(Policy::Named("plain.example", 22));
    REQUIRE(waits.action == FlowAction::kWait);
    CHECK(waits.suspended->wait() == Wait(AskWait{"let it out?", "policy.lua:2", kAskLimit, "policy.lua:2"}));
    CHECK(waits.suspended->Resume(Approval::kApproved).action == FlowAction::kRaw);
  }
  SECTION("no") {
    const auto waits = policy.Flow(Policy::Named("plain.example", 22));
    const ReadVerdict refused = waits.suspended->Resume(Approval::kDenied);
    CHECK(refused.refusal.reason == Reason::kApprovalDenied);
    CHECK(refused.refusal.rule == "policy.lua:2");
  }
  SECTION("HTTP") {
    const auto waits = policy.Flow(Policy::Named("web.example", 443));
    REQUIRE(waits.action == FlowAction::kWait);
    const ReadVerdict granted = waits.suspended->Resume(Approval::kApproved);
    CHECK(granted.action == FlowAction::kHttp);
    CHECK(granted.rule == "policy.lua:3");
  }
  SECTION("two questions") {
    auto verdict = policy.Flow(Policy::Named("twice.example", 22));
    verdict = verdict.suspended->Resume(Approval::kApproved);
    REQUIRE(verdict.action == FlowAction::kWait);
    CHECK(std::get<AskWait>(verdict.suspended->wait()).message == "two");
    verdict = verdict.suspended->Resume(Approval::kApproved);
    CHECK(Contains(verdict.refusal.detail, "enough"));
  }
}

TEST_CASE("a refused question can't be caught") {
  Policy policy(R"(
    on.connect(function(conn)
      pcall(function() conn:ask "now?" end)
      conn:accept()
    end))");
  const auto waits = policy.Flow(Policy::Named("a.example", 22));
  REQUIRE(waits.action == FlowAction::kWait);
  const ReadVerdict verdict = waits.suspended->Resume(Approval::kDenied);
  CHECK(verdict.action == FlowAction::kDeny);
}

TEST_CASE("a function goes on after sleep, with its variables, through pcall and xpcall") {
  Policy policy(R"(
    allow.http { host = "api.example" }
    on.request(function(req)
      local kept = "kept"
      local ok = pcall(function() sleep "20ms" end)
      local also, text = xpcall(function() sleep "1s"; return "slept" end, function(e) return e end)
      req.headers["x-kept"] = kept .. tostring(ok) .. tostring(also) .. text
    end)
    on.request(function(req) req.headers["x-second"] = "yes" end))");
  Asked asked(policy, "GET", "/");
  CHECK(asked.wait() == Wait(SleepWait{milliseconds(20)}));
  asked.Resume(Slept{});
  CHECK(asked.wait() == Wait(SleepWait{milliseconds(1000)}));
  asked.Resume(Slept{});
  REQUIRE(asked.verdict.action == RequestAction::kForward);
  CHECK(*asked.head.headers.Find("x-kept") == "kepttruetrueslept");
  CHECK(*asked.head.headers.Find("x-second") == "yes");
}

TEST_CASE("what becomes of one callback is nothing to the next") {
  Policy policy(R"(
    on.connect(function(conn)
      local mine = conn.host
      if mine == "error.example" then local t = { mine }; error(t[1]) end
      if mine == "asks.example" then conn:ask "now?" end
      if mine == "deep.example" then
        local function down(n) return n == 0 and 0 or 1 + down(n - 1) end
        down(100)
      end
      if conn.host == mine then conn:accept() end
    end))");
  // Those that wait keep their coroutine while others run on theirs.
  const auto first = policy.Flow(Policy::Named("asks.example", 22));
  const auto second = policy.Flow(Policy::Named("asks.example", 23));
  REQUIRE(first.action == FlowAction::kWait);
  REQUIRE(second.action == FlowAction::kWait);
  for (int i = 0; i < 3; ++i) {
    CHECK(policy.Action(Policy::Named("plain.example", 22)) == "raw");
    CHECK(policy.Flow(Policy::Named("error.example", 22)).refusal.reason == Reason::kPolicyError);
    CHECK(policy.Action(Policy::Named("deep.example", 22)) == "raw");
  }
  CHECK(first.suspended->Resume(Approval::kApproved).action == FlowAction::kRaw);
  CHECK(policy.Action(Policy::Named("plain.example", 22)) == "raw");
  CHECK(second.suspended->Resume(Approval::kDenied).action == FlowAction::kDeny);
  CHECK(policy.Action(Policy::Named("plain.example", 22)) == "raw");
}

TEST_CASE("an error after a wait denies, and says where") {
  Policy policy("allow.http { host = 'api.example' }\n"
                "on.request(function(req)\n sleep '1ms'\n error 'boom'\nend)");
  Asked asked(policy, "GET", "/");
  asked.Resume(Slept{});
  CHECK(asked.verdict.refusal.reason == Reason::kPolicyError);
  CHECK(Contains(asked.verdict.refusal.detail, "policy.lua:4: boom"));
}

TEST_CASE("what a function may wait for, and where") {
  for (const auto& [body, why] :
       {std::pair("sleep '2m'", "at most a minute"), std::pair("sleep(5)", "takes a time"),
        std::pair("table.sort({ 2, 1 }, function() sleep '1ms' end)", "can't wait"),
        std::pair("('x'):gsub('x', function() sleep '1ms' end)", "can't wait"),
        std::pair("req:body(0)", "up to 1 MiB"), std::pair("req:ask(5, 6)", "takes the question"),
        std::pair("req:ask {}", "takes the question")}) {
    INFO(body);
    Policy policy(std::string("allow.http { host = 'api.example' }\n"
                              "on.request(function(req) ") + body + " end)");
    Asked asked(policy, "GET", "/");
    CHECK(asked.verdict.refusal.reason == Reason::kPolicyError);
    CHECK(Contains(asked.verdict.refusal.detail, why));
  }
}

TEST_CASE("a function can't wait without end") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.request(function(req) while true do sleep "0s" end end))");
  Asked asked(policy, "GET", "/");
  size_t waits = 0;
  while (asked.verdict.action == RequestAction::kWait && waits <= kMaxWaits) {
    ++waits;
    asked.Resume(Slept{});
  }
  CHECK(waits == kMaxWaits);
  CHECK(asked.verdict.refusal.reason == Reason::kPolicyError);
}

TEST_CASE("each stretch between two waits has its own budget, and no more") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.request(function(req)
      sleep "1ms"
      while true do end
    end))");
  Asked asked(policy, "GET", "/");
  asked.Resume(Slept{});
  CHECK(asked.verdict.refusal.reason == Reason::kPolicyError);
  CHECK(Contains(asked.verdict.refusal.detail, "budget"));
  CHECK(Asked(policy, "GET", "/").verdict.action == RequestAction::kWait);
}

TEST_CASE("decisions that wait don't mix") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.request(function(req)
      sleep "1ms"
      req.headers["x-path"] = req.path
    end))");
  Asked first(policy, "GET", "/first");
  Asked second(policy, "GET", "/second");
  first.Resume(Slept{});
  second.Resume(Slept{});
  CHECK(*first.head.headers.Find("x-path") == "/first");
  CHECK(*second.head.headers.Find("x-path") == "/second");
}

TEST_CASE("an object that another function kept stays refused while its own waits") {
  Policy policy(R"(allow.http { host = "api.example" }
    local kept
    on.request(function(req)
      if req.path == "/keep" then kept = req; sleep "1ms" else kept:deny "yours" end
    end))");
  Asked first(policy, "GET", "/keep");
  CHECK(Contains(Asked(policy, "GET", "/steal").verdict.refusal.detail, "callback that is over"));
  first.Resume(Slept{});
  CHECK(first.verdict.action == RequestAction::kForward);
}

TEST_CASE("a hook reads the body, and may give another") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.request(function(req)
      local body = req:body(100)
      if body == nil then return req:deny "too long" end
      if body == "change" then req.body = "changed"; assert(req:body() == "changed") end
    end))");
  Asked asked(policy, "POST", "/");
  CHECK(asked.wait() == Wait(BodyWait{100}));
  SECTION("as it is") {
    asked.Resume(ReadBody{"keep"});
    CHECK(asked.verdict.action == RequestAction::kForward);
    CHECK_FALSE(asked.verdict.body.has_value());
  }
  SECTION("another") {
    asked.Resume(ReadBody{"change"});
    CHECK(asked.verdict.action == RequestAction::kForward);
    CHECK(asked.verdict.body == "changed");
  }
  SECTION("longer than asked for") {
    asked.Resume(ReadBody{});
    CHECK(Contains(asked.verdict.refusal.detail, "too long"));
  }
}

TEST_CASE("a path with two forms is decided on both, with one wait") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.request(function(req)
      local body = req:body()
      if body == "secret" and req.path == "/b" then req:deny "not there" end
    end))");
  Asked harmless(policy, "POST", "/a/../b");
  harmless.Resume(ReadBody{"open"});
  CHECK(harmless.verdict.action == RequestAction::kForward);
  CHECK(harmless.head.path == "/a/../b");
  Asked refused(policy, "POST", "/a/../b");
  refused.Resume(ReadBody{"secret"});
  CHECK(refused.verdict.refusal.reason == Reason::kBadRequest);
}

TEST_CASE("a decision outlives its engine, as a denial") {
  std::optional<Policy> policy;
  policy.emplace(R"(allow.http { host = "api.example" }
    on.request(function(req) sleep "1ms" end))");
  auto asked = std::make_unique<Asked>(*policy, "GET", "/");
  policy.reset();
  asked->Resume(Slept{});
  CHECK(asked->verdict.action == RequestAction::kDeny);
  CHECK(asked->verdict.refusal.reason == Reason::kPolicyError);
}

TEST_CASE("a yes to the question of a policy that is gone grants nothing") {
  std::optional<Policy> policy;
  policy.emplace(R"(ask.http { host = "api.example" }
    ask.tcp { host = "db.example", port = 5432 })");
  auto asked = std::make_unique<Asked>(*policy, "GET", "/");
  const auto flow = policy->Flow(Policy::Named("db.example", 5432));
  policy.reset();
  asked->Resume(Approval::kApproved);
  CHECK(asked->verdict.action == RequestAction::kDeny);
  CHECK(asked->verdict.refusal.reason == Reason::kPolicyError);
  const ReadVerdict verdict = flow.suspended->Resume(Approval::kApproved);
  CHECK(verdict.action == FlowAction::kDeny);
  CHECK(verdict.refusal.reason == Reason::kPolicyError);
}

TEST_CASE("the store keeps values over callbacks, within bounds") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.request(function(req)
      assert(store.get "missing" == nil)
      local count = store.incr "count"
      store.set("text", "t" .. count)
      store.set("flag", true)
      store.set("half", 0.5)
      assert(store.get "flag" == true and store.get "half" == 0.5)
      assert(store.incr("count", 0) == count)
      store.set("half", nil)
      assert(store.get "half" == nil)
      if req.path == "/full" then
        local long = ("x"):rep(16000)
        for i = 1, 100 do store.set("k" .. i, long) end
      end
      req.headers["x-text"] = store.get "text"
    end))");
  CHECK(*Asked(policy, "GET", "/").head.headers.Find("x-text") == "t1");
  CHECK(*Asked(policy, "GET", "/").head.headers.Find("x-text") == "t2");
  CHECK_THAT(Asked(policy, "GET", "/full").verdict.refusal.detail,
             Catch::Contains("the store is full"));
  for (const char* body : {"store.set('', 1)", "store.set('k', {})", "store.set('k', ('x'):rep(20000))",
                           "store.set('k', 'text') store.incr 'k'",
                           "store.set('k', math.maxinteger) store.incr 'k'"}) {
    INFO(body);
    Policy wrong(std::string("allow.http { host = 'api.example' }\non.request(function() ") + body +
                 " end)");
    CHECK(Asked(wrong, "GET", "/").verdict.refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("an ask rule says how long the guest waits") {
  CHECK(Diagnose("ask.http { host = 'a.example', wait = '90s' }").empty());
  CHECK(Diagnose("ask.http { host = 'a.example', show_body = '4KiB' }").empty());
  for (const auto& [fields, words] : std::vector<std::pair<std::string, std::string>>{
           {"", "names nobody to ask"},
           {"webhook = 'http://hook.example/'", "https://"},
           {"webhook = 'https://127.0.0.1/'", "private = true"},
           {"webhook = 'https://hook.example/', key = 'text'", "'key' must be"},
           {"webhook = 'https://hook.example/', key = command { 'pass' }", "env \"NAME\" or file"},
           {"key = env 'K', command = { 'a' }", "no effect without 'webhook'"},
           {"command = {}", "names no program"},
           {"command = { 'a', 1 }", "a list of strings"},
           {"command = { 'a' }, timeout = '1h'", "from \"1s\" to \"10m\""},
           {"webhok = 'https://hook.example/'", "did you mean 'webhook'"}}) {
    CAPTURE(fields);
    CHECK(Contains(Diagnose("sandbox { approvals = { " + fields + " } }"), words));
  }
  CHECK(Diagnose("sandbox { approvals = { webhook = 'https://hook.example/x', key = file 'k', "
                 "command = { 'approve', '' }, timeout = '10m' } }")
            .empty());
  for (const char* size : {"'5KiB'", "'0B'", "'much'"}) {
    CHECK(Contains(Diagnose(std::string("ask.http { host = 'a.example', show_body = ") + size + " }"),
                   "from \"1B\" to \"4KiB\""));
  }
  CHECK(Contains(Diagnose("ask.tcp { host = 'a.example', port = 1, show_body = '1KiB' }"),
                 "belongs to ask.http only"));
  CHECK(Contains(Diagnose("allow.http { host = 'a.example', show_body = '1KiB' }"),
                 "belongs to ask.http only"));
  CHECK(Contains(Diagnose("ask.http { host = 'a.example', wait = '1h' }"), "from \"1s\" to \"10m\""));
  CHECK(Contains(Diagnose("allow.http { host = 'a.example', wait = '5s' }"), "belongs to ask only"));
  CHECK(Contains(Diagnose("ask.htpp { host = 'a.example' }"), "did you mean 'http'"));
}

// ---- Requests of the policy's own.

TEST_CASE("a callback fetches, and gets an answer or why there is none") {
  Policy policy(R"(allow.http { host = "api.example" }
    local key = secret "KEY" { from = env "KEY", hosts = { "hook.example" } }
    on.request(function(req)
      local res, why = fetch { url = "https://hook.example:8443/check?x=1", body = "{}", timeout = "5s",
                               headers = { authorization = "Bearer " .. key, ["x-path"] = req.path } }
      if not res then return req:deny("no answer: " .. why) end
      if res.status ~= 200 then return req:deny(res.body) end
      assert(res.headers["content-type"] == "text/plain" and res.headers["set-cookie"] == "a, b")
    end))");
  policy.engine().SetPlaceholder("KEY", "placeholder-of-key");
  Asked asked(policy, "GET", "/p");
  const auto wanted = std::get<FetchWait>(asked.wait());
  CHECK(wanted.url.ToString() == "https://hook.example:8443/check?x=1");
  CHECK(wanted.method == "POST");
  CHECK(wanted.body == "{}");
  CHECK(wanted.timeout == milliseconds(5000));
  CHECK(*wanted.headers.Find("authorization") == "Bearer placeholder-of-key");
  CHECK(*wanted.headers.Find("x-path") == "/p");
  CHECK(wanted.rule == "policy.lua:4");
  Fetched fetched;
  SECTION("an answer") {
    fetched.status = 200;
    fetched.headers.Add("Content-Type", "text/plain");
    fetched.headers.Add("Set-Cookie", "a");
    fetched.headers.Add("set-cookie", "b");
    asked.Resume(fetched);
    CHECK(asked.verdict.refusal.detail == "");
    CHECK(asked.verdict.action == RequestAction::kForward);
  }
  SECTION("another status") {
    fetched.status = 403;
    fetched.body = "said no";
    asked.Resume(fetched);
    CHECK(Contains(asked.verdict.refusal.detail, "said no"));
  }
  SECTION("none") {
    fetched.error = "it is down";
    asked.Resume(fetched);
    CHECK(Contains(asked.verdict.refusal.detail, "no answer: it is down"));
  }
}

TEST_CASE("what can't be fetched is an error") {
  for (const auto& [body, why] :
       {std::pair("fetch 'https://a.example/'", "takes a table"),
        std::pair("fetch { url = 'ftp://a.example/' }", "'url'"),
        std::pair("fetch { url = 'https://user:pw@a.example/' }", "'url'"),
        std::pair("fetch { uri = 'https://a.example/' }", "did you mean 'url'"),
        std::pair("fetch { url = 'https://a.example/', timeout = '5m' }", "at most a minute"),
        std::pair("fetch { url = 'https://a.example/', method = 'G T' }", "'method'"),
        std::pair("fetch { url = 'https://a.example/', headers = { host = 'b' } }", "belongs to the gate"),
        std::pair("fetch { url = 'https://a.example/', headers = { x = 'a\\nb' } }", "can't hold")}) {
    INFO(body);
    Policy policy(std::string("allow.http { host = 'api.example' }\non.request(function(req) ") + body +
                  " end)");
    Asked asked(policy, "GET", "/");
    CHECK(asked.verdict.refusal.reason == Reason::kPolicyError);
    CHECK_THAT(asked.verdict.refusal.detail, Catch::Contains(why));
  }
  Policy names("on.connect(function(conn) fetch { url = 'https://a.example/' } conn:accept() end)");
  CHECK_FALSE(names.Resolves("b.example"));
}

// ---- Answers.

ResponseVerdict Answer(Policy& policy, ResponseHead& response, const std::string& path = "/") {
  TlsFacts tls;
  tls.encrypted = true;
  return policy.engine().DecideResponse(Policy::Named("api.example", 443), tls,
                                        Policy::Head("GET", path), response);
}

TEST_CASE("on.response sees answers, their request, and changes fields") {
  Policy policy(R"(allow.http { host = { "api.example", "other.example" } }
    on.response("api.example", function(res)
      assert(res.status == 200)
      assert(res.headers["Content-Type"] == "text/html")
      assert(res.request.path == "/p" and res.request.method == "GET")
      assert(res.request.headers["x-none"] == nil)
      res.headers["set-cookie"] = nil
      res.headers["x-seen"] = { "a", "b" }
    end))");
  CHECK(policy.engine().SeesResponses(Policy::Named("api.example", 443)));
  CHECK_FALSE(policy.engine().SeesResponses(Policy::Named("other.example", 443)));
  ResponseHead response;
  response.status = 200;
  response.headers.Add("content-type", "text/html");
  response.headers.Add("Set-Cookie", "a");
  const auto verdict = Answer(policy, response, "/p");
  CHECK(verdict.refusal.detail == "");
  CHECK(verdict.action == ResponseVerdict::Action::kForward);
  CHECK(response.headers.Find("set-cookie") == nullptr);
  CHECK(response.headers.FindAll("x-seen").size() == 2);
}

TEST_CASE("on.response denies, and what fails denies and changes nothing") {
  for (const auto& [body, reason] :
       {std::pair("res:deny { status = 451, reason = 'law' }", Reason::kDeniedByHook),
        std::pair("res.headers.x = 'y' error 'boom'", Reason::kPolicyError),
        std::pair("res.status = 201", Reason::kPolicyError),
        std::pair("res.headers['content-length'] = '1'", Reason::kPolicyError),
        std::pair("res.request.path = '/x'", Reason::kPolicyError),
        std::pair("res.request.headers.x = 'y'", Reason::kPolicyError),
        std::pair("res.request:deny 'x'", Reason::kPolicyError),
        std::pair("res.request:body()", Reason::kPolicyError),
        std::pair("res.request.conn:accept()", Reason::kPolicyError),
        std::pair("res:ask 'x'", Reason::kPolicyError),
        std::pair("local x = res.nonsense", Reason::kPolicyError)}) {
    INFO(body);
    Policy policy(std::string("allow.http { host = 'api.example' }\non.response(function(res) ") +
                  body + " end)");
    ResponseHead response;
    response.status = 200;
    const auto verdict = Answer(policy, response);
    CHECK(verdict.action == ResponseVerdict::Action::kDeny);
    CHECK(verdict.refusal.reason == reason);
    CHECK(response.headers.fields().empty());
  }
}

TEST_CASE("on.response reads a body and gives another") {
  Policy policy(R"(allow.http { host = "api.example" }
    on.response(function(res)
      local body = res:body(50)
      res.body = body:upper()
    end))");
  ResponseHead response;
  const auto waits = Answer(policy, response);
  REQUIRE(waits.action == ResponseVerdict::Action::kWait);
  CHECK(waits.suspended->wait() == Wait(BodyWait{50}));
  const auto verdict = waits.suspended->Resume(ReadBody{"loud"}, response);
  CHECK(verdict.action == ResponseVerdict::Action::kForward);
  CHECK(verdict.body == "LOUD");
}

}  // namespace
}  // namespace sallyport::policy
