#include "policy/question.h"

#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

constexpr const char* kPolicy = R"(
allow.http { host = "api.github.com", method = { "GET", "HEAD" }, path = "/repos/**",
             otherwise = "this agent only reads" }
allow.tcp  { host = "db.internal", port = 5432, resolves_to = "10.20.0.0/16" }
allow.tcp  { ip = "192.0.2.0/24", port = 22 }
allow.http { host = "mirror.example", to = "127.0.0.1:8080" }
allow.http { host = "pinned.example", tls = "passthrough" }
secret "GITHUB_TOKEN" { from = env "GITHUB_TOKEN", hosts = { "api.github.com" } }
on.connect(function(conn)
  local http = conn:match_http "hooked.example"
  if http then
    http:accept(function(req)
      if req.path == "/no" then return req:deny { status = 403, reason = "not that" } end
      if req.path == "/here" then return req:respond { status = 204 } end
    end)
  end
end)
)";

Answer Ask(std::vector<std::string> words) {
  Policy policy(kPolicy);
  auto question = Question::Parse(words);
  REQUIRE(question);
  return Decide(policy.engine(), *std::move(question));
}

std::string Steps(const Answer& answer) {
  std::string all;
  for (const std::string& step : answer.steps) all += step + "\n";
  return all;
}

TEST_CASE("a request is explained by the rule that decides it") {
  const Answer yes = Ask({"http", "GET", "https://api.github.com/repos/a/b?x=1"});
  CHECK(yes.allowed);
  CHECK(yes.rule == "policy.lua:2");
  CHECK(yes.secrets == std::vector<std::string>{"GITHUB_TOKEN"});
  CHECK(Contains(Steps(yes),
                 "name: api.github.com is resolved; its addresses may be public\n"
                 "flow: intercepted as HTTP by policy.lua:2"));

  const Answer no = Ask({"http", "DELETE", "https://api.github.com/repos/a/b"});
  CHECK_FALSE(no.allowed);
  CHECK(no.reason == "denied_by_rule");
  CHECK(no.rule == "policy.lua:2");
  CHECK(Contains(no.detail, "this agent only reads"));
}

TEST_CASE("a refusal comes with the smallest change that would allow it") {
  CHECK(Ask({"http", "GET", "https://other.example/x"}).how_to_allow ==
        "allow.http { host = \"other.example\" }");
  CHECK(Ask({"dns", "other.example"}).how_to_allow == "allow.http { host = \"other.example\" }");
  CHECK(Ask({"tcp", "other.example:5432"}).how_to_allow ==
        "allow.tcp { host = \"other.example\", port = 5432 }");
  CHECK(Ask({"udp", "192.0.2.1:53"}).how_to_allow == "allow.udp { ip = \"192.0.2.1\", port = 53 }");
}

TEST_CASE("the change that a refusal names does allow it") {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"http", "PUT", "https://other.example/a/b"},
        {"dns", "other.example"},
        {"tcp", "other.example:5432"},
        {"udp", "192.0.2.1:53"},
        {"udp", "[2001:db8::1]:443"},
        {"icmp", "other.example"},
        {"icmp", "2001:db8::1"}}) {
    INFO(words.back());
    const Answer denied = Ask(words);
    REQUIRE_FALSE(denied.allowed);
    REQUIRE_FALSE(denied.how_to_allow.empty());
    Policy changed(kPolicy + denied.how_to_allow);
    CHECK(Decide(changed.engine(), *Question::Parse(words)).allowed);
  }
}

TEST_CASE("flows, names and addresses are explained") {
  const Answer database = Ask({"tcp", "db.internal:5432"});
  CHECK(database.allowed);
  CHECK(Contains(Steps(database), "its addresses may be public, 10.20.0.0/16"));
  CHECK(Contains(Steps(database), "flow: relayed unread by policy.lua:4"));
  CHECK_FALSE(Ask({"tcp", "db.internal:22"}).allowed);
  CHECK(Ask({"tcp", "192.0.2.7:22"}).rule == "policy.lua:5");
  CHECK(Contains(Steps(Ask({"tcp", "192.0.2.7:23"})), "name: none"));
  CHECK(Contains(Steps(Ask({"http", "GET", "http://mirror.example/"})),
                 "flow: goes to 127.0.0.1:8080"));
  CHECK(Contains(Ask({"http", "POST", "https://pinned.example/"}).detail, "relayed unread"));
  CHECK(Ask({"dns", "db.internal"}).allowed);
  CHECK(Ask({"dns", "nothing.example"}).reason == "name_not_granted");
}

TEST_CASE("record types of names are explained") {
  const auto ask = [](const std::vector<std::string>& words) {
    const auto loaded = Load("allow.dns { host = 'a.example', types = { 'TXT', 'MX' } }");
    return Decide(*loaded.engine, *Question::Parse(words));
  };
  CHECK(ask({"dns", "a.example"}).allowed);
  CHECK(ask({"dns", "a.example", "txt"}).allowed);
  CHECK(Contains(Steps(ask({"dns", "a.example", "AAAA"})), "AAAA has an empty answer"));
  const Answer srv = ask({"dns", "a.example", "SRV"});
  CHECK_FALSE(srv.allowed);
  CHECK(srv.reason == "not_granted");
  CHECK(srv.how_to_allow == "allow.dns { host = \"a.example\", types = { \"SRV\" } }");
  CHECK_FALSE(ask({"dns", "a.example", "HTTPS"}).allowed);
  CHECK(ask({"dns", "b.example", "TXT"}).reason == "name_not_granted");
  CHECK(Contains(Question::Parse({"dns", "a.example", "TEXT"}).error().message(), "'TXT'"));
}

TEST_CASE("callbacks are asked as a gate would ask them") {
  CHECK(Ask({"http", "GET", "https://hooked.example/"}).allowed);
  CHECK(Ask({"http", "GET", "https://hooked.example/no"}).reason == "denied_by_hook");
  CHECK(Contains(Ask({"http", "GET", "https://hooked.example/here"}).detail, "status 204"));
}

TEST_CASE("what the gate refuses before its policy is asked is refused here, too") {
  const auto ask = [](const std::vector<std::string>& words) {
    Policy policy(R"(allow.http { host = any }
                     allow.tcp { ip = { "0.0.0.0/0", "::/0" } })");
    auto question = Question::Parse(words);
    REQUIRE(question);
    return Decide(policy.engine(), *std::move(question));
  };
  for (const char* address : {"127.0.0.1:80", "0.0.0.0:80", "[::1]:80", "[::ffff:127.0.0.1]:80",
                              "10.0.2.2:80", "[fd00:5a11::2]:80"}) {
    INFO(address);
    CHECK(ask({"tcp", address}).reason == "address_refused");
  }
  CHECK(ask({"tcp", "11.0.0.1:80"}).allowed);
  for (const char* method : {"TRACE", "TRACK"}) {
    CHECK(ask({"http", method, "https://a.example/"}).reason == "bad_request");
  }
  CHECK(ask({"http", "GET", "https://a.example/"}).allowed);
  CHECK_FALSE(Question::Parse({"http", "get", "https://a.example/"}));
  const auto url = Question::Parse({"https://a.example/x?y"});
  REQUIRE(url);
  CHECK(url->request.method == "GET");
  CHECK(url->request.path == "/x");
  CHECK_FALSE(Question::Parse({"https://a.example/x", "GET"}));
  CHECK_FALSE(Question::Parse({"ftp://a.example/x"}));
}

TEST_CASE("a URL may have a host in any script") {
  const auto question = Question::Parse({"http", "GET", "https://bücher.example/x"});
  REQUIRE(question);
  CHECK(question->facts.name->text() == "xn--bcher-kva.example");
  CHECK_FALSE(Question::Parse({"http", "GET", "https://a.example/bücher"}));
}

TEST_CASE("advice about HTTP on another port names the port") {
  CHECK(Ask({"http", "GET", "https://other.example:8443/x"}).how_to_allow ==
        "allow.http { host = \"other.example\", port = 8443 }");
  CHECK(Ask({"http", "GET", "https://api.github.com:8443/x"}).how_to_allow ==
        "allow.http { host = \"api.github.com\", port = 8443 }");
  CHECK(Ask({"tcp", "api.github.com:8443"}).how_to_allow ==
        "allow.tcp { host = \"api.github.com\", port = 8443 }");
}

TEST_CASE("a question that is none says what can be asked") {
  for (const std::vector<std::string>& words : {std::vector<std::string>{},
                                                {"http"},
                                                {"http", "GET"},
                                                {"dns", "a", "TXT", "b"},
                                                {"icmp", "a.example", "b"}}) {
    const auto question = Question::Parse(words);
    REQUIRE_FALSE(question);
    CHECK(Contains(question.error().message(), "http GET https://api.example.com/path"));
  }
  CHECK(Contains(Question::Parse({"tcp", "a.example"}).error().message(), "has no port"));
  CHECK(Contains(Question::Parse({"icmp", "a.example:7"}).error().message(), "pings have none"));
  CHECK_FALSE(Question::Parse({"dns", "a..b"}));
  CHECK_FALSE(Question::Parse({"http", "G ET", "https://a.example/"}));
  CHECK_FALSE(Question::Parse({"http", "GET", "ftp://a.example/"}));
}

}  // namespace
}  // namespace sallyport::policy
