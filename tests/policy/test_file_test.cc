#include "policy/test_file.h"

#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

constexpr const char* kPolicy = R"(
local token = secret "TOKEN" { from = env "TOKEN", hosts = { "api.github.com" } }
allow.http { host = "api.github.com", method = { "GET", "HEAD" }, otherwise = "this agent only reads" }
allow.tcp { host = "db.internal", port = 5432, name = "the database" }
use "npm"
local count = 0
on.request("api.github.com", function(req)
  count = count + 1
  if count > 1 then return req:deny { reason = "once" } end
  if req.headers["x-forbidden"] then return req:deny { reason = "that header" } end
  req.headers.authorization = "Bearer " .. token
end)
)";

Result<Engine::Source> Read(const std::string& path) {
  if (path != "/home/me/project/policy.lua") return Fail(Code::kNotFound, path + ": no such file");
  return Engine::Source{kPolicy, "policy.lua", "/home/me/project"};
}

TestRun RunFile(std::string text, const std::optional<Engine::Source>& override = {}) {
  return RunTestFile({std::move(text), "policy_test.lua", "/home/me/project"}, override, &Read);
}

/// The failures of a file with one test of BODY, a line each: "2: expected ... but ... by RULE".
std::string Failures(const std::string& body) {
  const auto run = RunFile("policy 'policy.lua' test('it', function()\n" + body + "\nend)");
  std::string text;
  for (const auto& mistake : run.mistakes) text += mistake + "\n";
  for (const auto& test : run.tests) {
    for (const auto& failure : test.failures) {
      text += std::to_string(failure.line) + ": expected " + failure.expected + " but " +
              failure.got + " by " + failure.rule + " | " + failure.rule_line + "\n";
    }
  }
  return text;
}

TEST_CASE("what holds passes, for names, flows and requests") {
  CHECK(Failures(R"(
    expect(http "GET https://api.github.com/user"):allowed():by "policy.lua:3"
    expect(http { method = "POST", url = "https://api.github.com/user" })
      :denied "this agent only reads"
    expect(http "PUT https://registry.npmjs.org/x"):denied "denied_by_rule":by "policy.lua:5"
    expect(tcp "db.internal:5432"):allowed():by "the database"
    expect(udp "192.0.2.1:53"):denied()
    expect(dns "api.github.com"):resolves()
    expect(dns "evil.example"):refused())") == "");
}

TEST_CASE("what does not hold is told with its line, what came, and the rule's own line") {
  const std::string text = Failures(R"(expect(http "GET https://api.github.com/x"):denied()
expect(http "DELETE https://api.github.com/x"):denied "no words like these"
expect(tcp "db.internal:5432"):by "policy.lua:3"
expect(dns "evil.example"):resolves())");
  CHECK(Contains(text,
                 "2: expected GET https://api.github.com/x to be denied but allowed: the "
                 "request is forwarded by policy.lua:3 | allow.http { host"));
  CHECK(Contains(text,
                 "3: expected DELETE https://api.github.com/x to be denied with \"no words "
                 "like these\" but denied (denied_by_rule): "));
  CHECK(Contains(text, "4: expected tcp db.internal:5432 to be decided by \"policy.lua:3\""));
  CHECK(
      Contains(text, "5: expected dns evil.example to be resolved but denied (name_not_granted)"));
}

TEST_CASE("what waits for the user is neither allowed nor denied") {
  const Engine::Source asking{"ask.http { host = 'api.github.com', message = 'really?' }", "p.lua",
                              "/"};
  const auto failures = [&](const std::string& check) {
    const auto run =
        RunFile("test('x', function() expect(http 'GET https://api.github.com/')" + check + " end)",
                asking);
    REQUIRE(run.tests.size() == 1);
    return run.tests[0].failures.size();
  };
  CHECK(failures(":asks():by 'p.lua:1'") == 0);
  CHECK(failures(":allowed()") == 1);
  CHECK(failures(":denied()") == 1);
  CHECK(Failures("expect(tcp 'db.internal:5432'):asks()") != "");
}

TEST_CASE("callbacks run in a test, see its headers, and start anew in each") {
  const auto run = RunFile(R"(policy "policy.lua"
    for i = 1, 2 do
      test("number " .. i, function()
        expect(http "GET https://api.github.com/a"):allowed()
        expect(http "GET https://api.github.com/a"):denied "once"
      end)
    end
    test("a header", function()
      expect(http { url = "https://api.github.com/a", headers = { ["X-Forbidden"] = "1" } })
        :denied "that header"
    end))");
  REQUIRE(run.mistakes.empty());
  REQUIRE(run.tests.size() == 3);
  for (const auto& test : run.tests) CHECK(test.passed());
}

TEST_CASE("callbacks that read a request's body are given the test's") {
  const Engine::Source policy{R"(
allow.http { host = "api.example", method = "POST" }
on.request("api.example", function(req)
  local body = req:body(64)
  if not body then return req:deny { reason = "too long" } end
  if req.headers["content-type"] ~= "application/json" then return req:deny { reason = "no JSON" } end
  if req.headers["content-length"] ~= tostring(#body) then return req:deny { reason = "length" } end
  if body:find("delete", 1, true) then return req:deny { reason = "it deletes" } end
end)
)",
                              "policy.lua", "/home/me/project"};
  const auto run = RunFile(R"(
local function post(body, kind)
  return expect(http { method = "POST", url = "https://api.example/", body = body, type = kind })
end
test("bodies", function()
  post("{}", "application/json"):allowed()
  post("", "application/json"):allowed()
  post('{"delete":1}', "application/json"):denied "it deletes"
  post("{}", "text/plain"):denied "no JSON"
  post("{}"):denied "no JSON"
  post(("x"):rep(65), "application/json"):denied "too long"
  expect(http "POST https://api.example/"):asks()
end))",
                           policy);
  REQUIRE(run.mistakes.empty());
  REQUIRE(run.tests.size() == 1);
  CHECK(run.tests[0].passed());
  CHECK(Contains(Failures("http { url = 'https://a.example/', type = 'text/plain' }"), "'body'"));
}

TEST_CASE("a test that checks nothing fails") {
  CHECK(Contains(Failures(""), "the test checks nothing"));
  CHECK(Contains(Failures("expect(dns 'a.example')"), "the test checks nothing"));
  CHECK(Contains(Failures("local x = dns 'a.example'"), "the test checks nothing"));
}

TEST_CASE("a mistake inside a test fails that test with its line, and the others run") {
  const auto run = RunFile(R"(policy "policy.lua"
    test("bad", function()
      expect(http "GET nowhere"):allowed() end)
    test("endless", function() while true do end end)
    test("good", function() expect(dns "api.github.com"):resolves() end))");
  REQUIRE(run.tests.size() == 3);
  REQUIRE(run.tests[0].failures.size() == 1);
  CHECK(run.tests[0].failures[0].line == 3);
  CHECK(Contains(run.tests[1].failures.at(0).got, "budget"));
  CHECK(run.tests[2].passed());
  for (const char* body :
       {"expect('x')", "expect(dns 'a.example'):allowed()", "expect(tcp 'a.example:1'):refused()",
        "expect(dns 'a.example'):resolved()", "http(7)",
        "http { url = 'https://a.example/', x = 1 }", "http { method = 'GET' }", "tcp 'a.example'",
        "test('x', function() end)", "policy 'x'", "expect(dns 'a.example'):by(1)"}) {
    INFO(body);
    CHECK(Contains(Failures(body), "the test to run to its end"));
  }
  CHECK(Contains(Failures("expect(dns 'a.example'):resolved()"), "did you mean 'resolves'?"));
}

TEST_CASE("a broken file is a mistake with its line, and runs no test") {
  const auto mistakes = [](std::string text) {
    const auto run = RunFile(std::move(text));
    CHECK(run.tests.empty());
    return run.mistakes.empty() ? "" : run.mistakes.front();
  };
  CHECK(Contains(mistakes("policy 'policy.lua'\ntest('x', function() end"),
                 "policy_test.lua:2: error:"));
  CHECK(Contains(mistakes("policy 'none.lua'"),
                 "policy_test.lua:1: error: /home/me/project/none.lua"));
  CHECK(Contains(mistakes("test('x', function() end)"), "write policy"));
  CHECK(Contains(mistakes("policy 'policy.lua'"), "there is no test in it"));
  CHECK(Contains(mistakes("polcy 'policy.lua'"), "did you mean 'policy'?"));
  CHECK(Contains(mistakes("policy 'policy.lua'\nio.open('/etc/passwd')"), "'io'"));
  CHECK(Contains(mistakes("policy 'policy.lua' dns 'a.example'"), "dns stands inside a test"));
  CHECK(Contains(mistakes("while true do end"), "budget"));
  CHECK(Contains(mistakes("\x1bLua"), "error"));
}

TEST_CASE("a policy with a mistake is the mistake, and a policy given from outside wins") {
  const std::string file =
      "policy 'policy.lua' test('x', function() expect(dns 'a.example'):resolves() end)";
  const auto broken = RunFile(file, Engine::Source{"allow.htp {}", "other.lua", "/"});
  REQUIRE(broken.mistakes.size() == 1);
  CHECK(Contains(broken.mistakes[0], "other.lua:1: error:"));
  const auto given =
      RunFile(file, Engine::Source{"allow.http { host = 'a.example' }", "other.lua", "/"});
  REQUIRE(given.tests.size() == 1);
  CHECK(given.tests[0].passed());
}

TEST_CASE("what a test keeps of another one is refused") {
  const auto run = RunFile(R"(policy "policy.lua" local kept
    test("first", function() kept = dns "api.github.com" expect(kept):resolves() end)
    test("second", function() expect(kept):resolves() end))");
  REQUIRE(run.tests.size() == 2);
  CHECK(run.tests[0].passed());
  CHECK(Contains(run.tests[1].failures.at(0).got, "over"));
}

TEST_CASE("the line of a rule is found in every text, and none where there is none") {
  const Engine::Source source{"one\ntwo\nthree", "policy.lua", "/"};
  CHECK(SourceLine(source, "policy.lua:1") == "one");
  CHECK(SourceLine(source, "policy.lua:3(npm:4)") == "three");
  for (const char* rule : {"policy.lua:4", "policy.lua:", "policy.lua:x", "other.lua:1", ""}) {
    CHECK(SourceLine(source, rule).empty());
  }
}

}  // namespace
}  // namespace sallyport::policy
