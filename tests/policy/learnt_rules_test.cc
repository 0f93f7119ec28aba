#include "policy/learnt_rules.h"

#include <algorithm>
#include <random>

#include "policy/lua_format.h"
#include "policy/question.h"
#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

using Kind = Observation::Kind;

Observation Seen(Kind kind, const char* host, uint16_t port) {
  Observation seen;
  seen.kind = kind;
  seen.host = *ParseHost(host);
  seen.port = port;
  return seen;
}
Observation Request(const char* method, const char* host, const char* path, uint64_t count = 2,
                    uint16_t port = 443) {
  Observation seen = Seen(Kind::kRequest, host, port);
  seen.method = method;
  seen.path = path;
  seen.count = count;
  return seen;
}
Observation Raw(Kind kind, const char* host, uint16_t port, uint64_t count = 2) {
  Observation seen = Seen(kind, host, port);
  seen.count = count;
  return seen;
}

Observation Records(const char* host, uint16_t type) {
  Observation seen = Seen(Kind::kName, host, 53);
  seen.type = type;
  return seen;
}

/// The rules for SEEN, in every order that is tried the same; they load without any diagnostic,
/// and are as the formatter has them.
std::string RulesFor(std::vector<Observation> seen) {
  std::string first;
  std::mt19937 random(1);
  for (int round = 0; round < 4; ++round) {
    LearntRules rules;
    for (const auto& one : seen) rules.Add(one);
    const std::string text = rules.ToText();
    if (round == 0) first = text;
    CHECK(text == first);
    std::shuffle(seen.begin(), seen.end(), random);
  }
  INFO(first);
  CHECK(Diagnose(first) == "");
  CHECK(FormatLua(first) == first);
  return first;
}

TEST_CASE("observations become rules") {
  struct Row {
    const char* what;
    std::vector<Observation> seen;
    const char* rules;
  };
  const std::vector<Row> rows = {
      {"nothing", {}, ""},
      {"methods and paths of a host are one rule",
       {Request("GET", "a.example.com", "/u"), Request("POST", "a.example.com", "/items/17"),
        Request("GET", "a.example.com", "/items/18"), Request("POST", "a.example.com", "/u")},
       "allow.http { host = \"a.example.com\", method = { \"GET\", \"POST\" }, "
       "path = { \"/items/*\", \"/u\" } }\n"},
      {"what is written is not written to all that is read",
       {Request("GET", "a.example.com", "/u"), Request("DELETE", "a.example.com", "/items/17", 1),
        Request("HEAD", "a.example.com", "/items/18")},
       "allow.http { host = \"a.example.com\", method = { \"GET\", \"HEAD\" }, "
       "path = { \"/items/*\", \"/u\" } }\n"
       "-- rare: 1 request\n"
       "allow.http { host = \"a.example.com\", method = \"DELETE\", path = \"/items/*\" }\n"},
      {"more paths than anybody reads are any path, which is said",
       {Request("GET", "a.example.com", "/a/x"), Request("GET", "a.example.com", "/b/x/y"),
        Request("GET", "a.example.com", "/c"), Request("GET", "a.example.com", "/d"),
        Request("GET", "a.example.com", "/e"), Request("GET", "a.example.com", "/f"),
        Request("GET", "a.example.com", "/g"), Request("GET", "a.example.com", "/h"),
        Request("GET", "a.example.com", "/i"), Request("GET", "a.example.com", "/j"),
        Request("GET", "a.example.com", "/k"), Request("GET", "a.example.com", "/l"),
        Request("GET", "a.example.com", "/m")},
       "-- wide: any path\n"
       "allow.http { host = \"a.example.com\", method = \"GET\" }\n"},
      {"hosts of one owner are not merged, and a single request is said",
       {Request("GET", "a.example.com", "/x", 1), Request("GET", "b.example.com", "/x"),
        Request("GET", "c.example.com", "/x")},
       "-- rare: 1 request\n"
       "allow.http { host = \"a.example.com\", method = \"GET\", path = \"/x\" }\n"
       "allow.http { host = \"b.example.com\", method = \"GET\", path = \"/x\" }\n"
       "allow.http { host = \"c.example.com\", method = \"GET\", path = \"/x\" }\n"},
      {"four of them are a wildcard, which is said; the name itself is not below it",
       {Request("GET", "a.example.com", "/x"), Request("GET", "b.example.com", "/x"),
        Request("HEAD", "c.example.com", "/x"), Request("GET", "d.e.example.com", "/y"),
        Request("GET", "example.com", "/")},
       "-- wide: a.example.com, b.example.com, c.example.com, d.e.example.com\n"
       "allow.http { host = \"*.example.com\", method = { \"GET\", \"HEAD\" }, path = { \"/x\", "
       "\"/y\" } }\n"
       "allow.http { host = \"example.com\", method = \"GET\", path = \"/\" }\n"},
      {"the narrowest name that many are below is the wildcard's",
       {Request("GET", "a.cdn.example.com", "/x"), Request("GET", "b.cdn.example.com", "/x"),
        Request("GET", "c.cdn.example.com", "/x"), Request("GET", "d.cdn.example.com", "/x"),
        Request("GET", "www.example.com", "/")},
       "-- wide: a.cdn.example.com, b.cdn.example.com, c.cdn.example.com, d.cdn.example.com\n"
       "allow.http { host = \"*.cdn.example.com\", method = \"GET\", path = \"/x\" }\n"
       "allow.http { host = \"www.example.com\", method = \"GET\", path = \"/\" }\n"},
      {"names of different owners are never a wildcard",
       {Request("GET", "a.github.io", "/"), Request("GET", "b.github.io", "/"),
        Request("GET", "c.github.io", "/"), Request("GET", "d.github.io", "/")},
       "allow.http { host = \"a.github.io\", method = \"GET\", path = \"/\" }\n"
       "allow.http { host = \"b.github.io\", method = \"GET\", path = \"/\" }\n"
       "allow.http { host = \"c.github.io\", method = \"GET\", path = \"/\" }\n"
       "allow.http { host = \"d.github.io\", method = \"GET\", path = \"/\" }\n"},
      {"ports that are not the usual ones are named",
       {Request("GET", "a.example.com", "/", 2, 8443), Request("GET", "b.example.com", "/", 2, 80),
        Request("GET", "c.example.com", "/", 2, 443), Request("GET", "c.example.com", "/", 2, 80)},
       "allow.http { host = \"a.example.com\", port = 8443, method = \"GET\", path = \"/\" }\n"
       "allow.http { host = \"b.example.com\", port = 80, method = \"GET\", path = \"/\" }\n"
       "allow.http { host = \"c.example.com\", method = \"GET\", path = \"/\" }\n"},
      {"bytes by host and port",
       {Raw(Kind::kTcp, "db.example.com", 5432), Raw(Kind::kTcp, "db.example.com", 22),
        Raw(Kind::kUdp, "time.example.com", 123, 1)},
       "allow.tcp { host = \"db.example.com\", port = { 22, 5432 } }\n\n"
       "-- rare: 1 flow\n"
       "allow.udp { host = \"time.example.com\", port = 123 }\n"},
      {"bytes where requests are seen need no rule, and would be an error",
       {Request("GET", "a.example.com", "/"), Raw(Kind::kTcp, "a.example.com", 443),
        Raw(Kind::kUdp, "a.example.com", 443), Raw(Kind::kTcp, "a.example.com", 22)},
       "allow.http { host = \"a.example.com\", method = \"GET\", path = \"/\" }\n\n"
       "allow.tcp { host = \"a.example.com\", port = 22 }\n"},
      {"names that were only looked up",
       {Seen(Kind::kName, "b.example.com", 53), Seen(Kind::kName, "a.example.com", 53),
        Seen(Kind::kName, "c.example.com", 53), Raw(Kind::kTcp, "c.example.com", 22)},
       "allow.tcp { host = \"c.example.com\", port = 22 }\n\n"
       "-- looked up only\n"
       "allow.dns { host = { \"a.example.com\", \"b.example.com\" } }\n"},
      {"names with other records, also where another rule has their addresses",
       {Records("a.example.com", 16), Records("a.example.com", 15), Records("a.example.com", 28),
        Seen(Kind::kName, "b.example.com", 53), Raw(Kind::kTcp, "a.example.com", 22)},
       "allow.tcp { host = \"a.example.com\", port = 22 }\n\n"
       "-- looked up only\n"
       "allow.dns { host = \"b.example.com\" }\n"
       "allow.dns { host = \"a.example.com\", types = { \"MX\", \"TXT\" } }\n"},
      {"TLS that was passed through still is, with its plain HTTP",
       {Raw(Kind::kPassedTls, "pinned.example.com", 443),
        Request("GET", "pinned.example.com", "/", 2, 80)},
       "allow.http { host = \"pinned.example.com\", tls = \"passthrough\" }\n"},
      {"but not where another policy saw the requests",
       {Raw(Kind::kPassedTls, "a.example.com", 443), Request("GET", "a.example.com", "/")},
       "allow.http { host = \"a.example.com\", method = \"GET\", path = \"/\" }\n"},
      {"public addresses by themselves, others not",
       {Raw(Kind::kTcp, "11.0.0.1", 22), Raw(Kind::kTcp, "10.0.0.1", 22),
        Request("GET", "[2600::1]", "/")},
       "allow.http { ip = \"2600::1\", method = \"GET\", path = \"/\" }\n\n"
       "allow.tcp { ip = \"11.0.0.1\", port = 22 }\n"},
      {"a long rule has a field a line",
       {Request("GET", "a-rather-long-name.example.com", "/first/of/several/paths"),
        Request("GET", "a-rather-long-name.example.com", "/second/of/several/paths"),
        Request("GET", "a-rather-long-name.example.com", "/third/of/several/paths"),
        Request("GET", "a-rather-long-name.example.com", "/fourth/of/several/paths")},
       "allow.http {\n"
       "  host = \"a-rather-long-name.example.com\",\n"
       "  method = \"GET\",\n"
       "  path = {\n"
       "    \"/first/of/several/paths\",\n"
       "    \"/fourth/of/several/paths\",\n"
       "    \"/second/of/several/paths\",\n"
       "    \"/third/of/several/paths\",\n"
       "  },\n"
       "}\n"},
      {"quotes and backslashes of a path",
       {Request("GET", "a.example.com", "/say\"x\\y\"")},
       "allow.http { host = \"a.example.com\", method = \"GET\", path = { \"/*\", "
       "\"/say\\\"x/y\\\"\" } }\n"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    CHECK(RulesFor(row.seen) == row.rules);
  }
}

TEST_CASE("a wildcard takes in neither passed through hosts nor raw bytes below it") {
  std::vector<Observation> hosts = {
      Request("GET", "a.example.com", "/x"), Request("GET", "b.example.com", "/x"),
      Request("GET", "c.example.com", "/x"), Request("GET", "d.example.com", "/x")};
  auto passed = hosts;
  passed.push_back(Raw(Kind::kPassedTls, "e.example.com", 443));
  CHECK_FALSE(Contains(RulesFor(passed), "*."));
  auto raw = hosts;
  raw.push_back(Raw(Kind::kTcp, "e.example.com", 443));
  const std::string rules = RulesFor(raw);
  CHECK_FALSE(Contains(rules, "*."));
  CHECK(Contains(rules, "allow.tcp { host = \"e.example.com\", port = 443 }"));
}

TEST_CASE("what no rule can say is told, and its secrets by name") {
  LearntRules rules;
  CHECK_FALSE(rules.Add(Raw(Kind::kTcp, "192.168.1.1", 22)));
  CHECK_FALSE(rules.Add(Raw(Kind::kTcp, "169.254.169.254", 80)));
  CHECK_FALSE(rules.Add(Request("get", "a.example.com", "/")));
  CHECK_FALSE(rules.Add(Request("OPTIONS", "a.example.com", "*")));
  CHECK(rules.unwritten().size() == 4);
  auto with = Request("GET", "a.example.com", "/");
  with.secrets = {"TOKEN"};
  CHECK(rules.Add(with));
  CHECK(Contains(rules.ToText(), "-- with TOKEN\n"));
  CHECK_FALSE(Contains(rules.ToText(), "secret \""));
}

TEST_CASE("more hosts than anybody reads are left out and counted") {
  LearntRules rules;
  for (size_t i = 0; i < LearntRules::kMaxHosts; ++i) {
    REQUIRE(rules.Add(Raw(Kind::kTcp, ("h" + std::to_string(i) + ".example").c_str(), 22)));
  }
  CHECK_FALSE(rules.Add(Raw(Kind::kTcp, "one-more.example", 22)));
  CHECK(rules.Add(Raw(Kind::kTcp, "h1.example", 23)));
  CHECK(rules.unwritten().size() == 1);
  CHECK(Diagnose(rules.ToText()) == "");
}

TEST_CASE("whatever was seen is allowed by the rules that are made of it") {
  std::mt19937 random(7);
  const std::vector<const char*> hosts = {"a.example.com",   "b.example.com", "c.example.com",
                                          "d.x.example.com", "example.com",   "e.example.net",
                                          "11.0.0.9"};
  const std::vector<const char*> paths = {"/",       "/a/1",  "/a/2",      "/b//c",
                                          "/x/../y", "/%7Ez", "/v1/k;p=1", "/a"};
  const std::vector<const char*> methods = {"GET", "POST", "PROPFIND"};
  const std::vector<uint16_t> ports = {80, 443, 8443, 22};
  for (int round = 0; round < 100; ++round) {
    LearntRules rules;
    std::vector<std::vector<std::string>> questions;
    for (size_t i = 1 + random() % 30; i > 0; --i) {
      const char* host = hosts[random() % hosts.size()];
      const uint16_t port = ports[random() % ports.size()];
      const std::string target = std::string(host) + ":" + std::to_string(port);
      const bool secure = port != 80;
      switch (random() % 4) {
        case 0:
          if (rules.Add(Raw(Kind::kTcp, host, port))) questions.push_back({"tcp", target});
          break;
        case 1:
          if (*host != '1' && rules.Add(Raw(Kind::kPassedTls, host, 443)))
            questions.push_back({"tcp", std::string(host) + ":443"});
          break;
        default: {
          const char* method = methods[random() % methods.size()];
          const char* path = paths[random() % paths.size()];
          if (rules.Add(Request(method, host, path, 1, port)))
            questions.push_back(
                {"http", method, (secure ? "https://" : "http://") + target + path});
        }
      }
    }
    const std::string text = rules.ToText();
    INFO(text);
    CHECK(Diagnose(text) == "");
    Policy policy(text);
    for (const auto& words : questions) {
      INFO(words.back());
      CHECK(Decide(policy.engine(), *Question::Parse(words)).allowed);
    }
  }
}

}  // namespace
}  // namespace sallyport::policy
