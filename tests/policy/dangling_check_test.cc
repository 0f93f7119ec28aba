#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

constexpr const char* kSecret =
    "secret 'T' { from = env 'T', hosts = { 'a.example.com', '*.b.example.com' } }\n";

TEST_CASE("a secret that no rule lets out is a warning at its line") {
  CHECK(Diagnose(std::string("\n") + kSecret) ==
        "policy.lua:2: warning: secret \"T\" can never be used: no allow.http rule grants any of "
        "its hosts\n");
  CHECK(Diagnose("secret 'T' { from = env 'T', hosts = { 'a.example.com' } }\n"
                 "allow.tcp { host = 'a.example.com', port = 22 }\ndeny.http { host = "
                 "'a.example.com' }") ==
        "policy.lua:1: warning: secret \"T\" can never be used: no allow.http rule grants its host "
        "'a.example.com'\n");
}

TEST_CASE("a host of a secret that no rule grants is a warning; one that overlaps is none") {
  CHECK(Diagnose(std::string(kSecret) + "allow.http { host = 'a.example.com' }") ==
        "policy.lua:1: warning: secret \"T\": no allow.http rule grants its host "
        "'*.b.example.com'\n");
  for (const char* rules : {"allow.http { host = { 'a.example.com', 'x.b.example.com' } }",
                            "allow.http { host = '*.example.com' }", "allow.http { host = any }",
                            "ask.http { host = { 'a.example.com', '*.b.example.com' } }"}) {
    INFO(rules);
    CHECK_FALSE(Contains(Diagnose(std::string(kSecret) + rules), "secret"));
  }
}

TEST_CASE("methods and ports that no rule grants make a secret useless") {
  const auto diagnose = [](const std::string& field, const std::string& rule) {
    return Diagnose("secret 'T' { from = env 'T', hosts = { 'a.example.com' }, " + field +
                    " }\nallow.http { host = 'a.example.com', " + rule + " }");
  };
  CHECK(Contains(diagnose("methods = { 'POST' }", "method = 'GET'"),
                 "grant none of its methods and ports"));
  CHECK(
      Contains(diagnose("ports = { 8443 }", "port = 443"), "grant none of its methods and ports"));
  CHECK(diagnose("methods = { 'POST' }", "method = { 'GET', 'POST' }") == "");
  CHECK(diagnose("ports = { 8443 }", "port = { from = 8000, to = 9000 }") == "");
}

TEST_CASE("an upstream block whose host no rule grants is a warning") {
  const char* block = "upstream 'a.example.com' { ca = 'x.pem' }\n";
  CHECK(Diagnose(block) ==
        "policy.lua:1: warning: upstream \"a.example.com\" has no effect: no allow.http rule "
        "grants this "
        "host\n");
  CHECK(Diagnose(std::string(block) + "allow.http { host = '*.example.com' }") == "");
  // It may be the one that the broker asks.
  CHECK_FALSE(Contains(
      Diagnose(
          std::string(block) +
          "secret 'T' { from = oauth2 { token_url = 'https://a.example.com/t', client_id = 'c', "
          "client_secret = env 'S' }, hosts = { 'b.example.com' } }\nallow.http { host = "
          "'b.example.com' }"),
      "upstream"));
}

TEST_CASE("of a file with callbacks nothing is known, and nothing is said") {
  CHECK(Diagnose(std::string(kSecret) + "on.connect(function(conn) conn:accept() end)") == "");
  CHECK(Diagnose(std::string(kSecret) + "on.request('c.example.com', function(req) end)") == "");
}

}  // namespace
}  // namespace sallyport::policy
