// Random rules and flows: the compiled rules decide as a reader of the file would, who takes one
// rule after the other. Names, addresses and ports are drawn from small sets, so that rules meet.

#include <catch2/catch.hpp>
#include <random>

#include "policy/rule_set.h"

namespace sallyport::policy {
namespace {

class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  size_t Below(size_t bound) { return engine_() % bound; }
  bool Chance(size_t percent) { return Below(100) < percent; }
  template <class T>
  const T& Of(const std::vector<T>& all) {
    return all[Below(all.size())];
  }

 private:
  std::mt19937 engine_;
};

const std::vector<std::string> kNames = {"a.example",     "b.example",       "c.a.example",
                                         "d.c.a.example", "e.d.c.a.example", "a.test",
                                         "x.a.test",      "example",         "b.c.a.example"};
const std::vector<std::string> kPatterns = {
    "a.example",     "b.example", "*.example",     "*.a.example",
    "*.c.a.example", "*.test",    "d.c.a.example", "any"};
const std::vector<std::string> kPrefixes = {
    "10.0.0.0/8",   "10.1.0.0/16",    "10.1.2.0/24",   "10.1.2.3",        "0.0.0.0/0",
    "192.0.2.0/25", "203.0.113.0/24", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::5",
    "::/0",         "64:ff9b::/96",   "8.8.8.0/24",    "8.8.8.8",         "128.0.0.0/1"};
const std::vector<std::string> kAddresses = {"10.0.0.1",
                                             "10.1.2.3",
                                             "10.1.2.4",
                                             "10.200.0.1",
                                             "8.8.8.8",
                                             "8.8.8.9",
                                             "1.1.1.1",
                                             "192.0.2.1",
                                             "192.0.2.200",
                                             "203.0.113.7",
                                             "127.0.0.1",
                                             "169.254.169.254",
                                             "2001:db8::1",
                                             "2001:db8:1::5",
                                             "2001:db8:1::6",
                                             "2600::1",
                                             "::ffff:10.1.2.3",
                                             "64:ff9b::8.8.8.8",
                                             "2002:a01:203::1",
                                             "fe80::1",
                                             "fd00::1",
                                             "64:ff9b:1:a01:2:300::",
                                             "2001:0:a01:203::f7f7:f7f7",
                                             "2600::5efe:10.1.2.3"};
const std::vector<uint16_t> kPorts = {80, 443, 22, 8080, 8443};
const std::vector<std::string> kMethods = {"GET", "POST", "DELETE"};
const std::vector<std::string> kGlobs = {"/a",  "/a/**",  "/a/*", "/**/z",
                                         "/*x", "/a/*/c", "/",    "/**"};
const std::vector<std::string> kPaths = {"/",   "/a",   "/a/b", "/a/b/c", "/x",
                                         "/yx", "/q/z", "/a/",  "/ab"};

Rule RandomRule(Dice& dice) {
  Rule rule;
  rule.kind = std::vector{Rule::Kind::kHttp, Rule::Kind::kTcp, Rule::Kind::kUdp, Rule::Kind::kIcmp,
                          Rule::Kind::kDns}[dice.Below(5)];
  rule.effect = dice.Chance(60) ? Rule::Effect::kAllow : Rule::Effect::kDeny;
  if (rule.kind == Rule::Kind::kDns || dice.Chance(70)) {
    for (size_t i = 0; i <= dice.Below(3); ++i) {
      const std::string& text = dice.Of(kPatterns);
      rule.hosts.push_back(text == "any" ? HostPattern::Any() : *HostPattern::Parse(text));
    }
  }
  if (rule.kind == Rule::Kind::kDns) return rule;
  if (rule.hosts.empty() || dice.Chance(30)) {
    rule.ip.emplace().classes = dice.Chance(30) ? uint16_t(1u << dice.Below(9)) : uint16_t{0};
    for (size_t i = 0; i < dice.Below(4); ++i) {
      rule.ip->prefixes.push_back(*Prefix::Parse(dice.Of(kPrefixes)));
    }
  }
  if (rule.kind == Rule::Kind::kIcmp) return rule;
  for (size_t i = 0; i < dice.Below(3); ++i) {
    const uint16_t port = dice.Of(kPorts);
    rule.ports.Add(port, dice.Chance(30) ? uint16_t(port + 400) : port);
  }
  if (rule.kind != Rule::Kind::kHttp) return rule;
  if (dice.Chance(40)) rule.methods = {dice.Of(kMethods)};
  for (size_t i = 0; i < dice.Below(3); ++i)
    rule.paths.push_back(*PathGlob::Parse(dice.Of(kGlobs)));
  if (dice.Chance(10)) rule.headers.push_back({"x-a", {"1"}});
  if (rule.allows() && !rule.matches_every_request() && dice.Chance(20)) rule.rare.Edit().otherwise = "no";
  return rule;
}

struct Flow {
  Transport transport = Transport::kTcp;
  std::optional<HostName> name;
  IpAddress address;
  uint16_t port = 0;
};

Flow RandomFlow(Dice& dice) {
  Flow flow;
  flow.transport = dice.Chance(60)   ? Transport::kTcp
                   : dice.Chance(50) ? Transport::kUdp
                                     : Transport::kIcmp;
  if (dice.Chance(50)) flow.name = *HostName::Parse(dice.Of(kNames));
  flow.address = *IpAddress::Parse(dice.Of(kAddresses));
  if (flow.transport != Transport::kIcmp) flow.port = dice.Of(kPorts);
  return flow;
}

bool SpeaksOf(const Rule& rule, const Flow& flow) {
  const bool http = rule.kind == Rule::Kind::kHttp && flow.transport == Transport::kTcp;
  const bool transport = http || ToString(rule.kind) == ToString(flow.transport);
  return transport && rule.ports.Contains(flow.port) &&
         (flow.name ? rule.MatchesName(*flow.name) : rule.MatchesAddress(flow.address));
}

struct Reading {
  enum class Action { kDeny, kRaw, kHttp };
  Action action = Action::kDeny;
  const Rule* rule = nullptr;         // What decided the whole flow.
  std::vector<const Rule*> requests;  // What decides its requests.
};

// One rule after the other, as docs/policy-reference.md says it.
Reading Read(const std::vector<Rule>& rules, const Flow& flow) {
  Reading reading;
  bool http = false;
  for (const Rule& rule : rules) {
    if (!SpeaksOf(rule, flow)) continue;
    if (rule.kind != Rule::Kind::kHttp) {
      if (!http) {
        reading.rule = &rule;
        reading.action = rule.allows() ? Reading::Action::kRaw : Reading::Action::kDeny;
      }
      break;
    }
    if (!rule.allows() && rule.matches_every_request() && !http) {
      reading.rule = &rule;
      break;
    }
    reading.requests.push_back(&rule);
    http |= rule.allows();
    if (rule.matches_every_request() || rule.rare->otherwise) break;
  }
  if (http) reading.action = Reading::Action::kHttp;
  return reading;
}

// The rule that decides a request, and whether it allows it.
std::pair<const Rule*, bool> ReadRequest(const std::vector<const Rule*>& rules,
                                         const std::string& method, const std::string& path,
                                         const Headers& headers) {
  for (const Rule* rule : rules) {
    if (rule->MatchesRequest(method, path, headers)) return {rule, rule->allows()};
    if (rule->rare->otherwise) return {rule, false};
  }
  return {nullptr, false};
}

std::vector<const Rule*> Pointers(const RuleSet& set, std::span<const uint32_t> numbers) {
  std::vector<const Rule*> rules;
  for (const uint32_t number : numbers) rules.push_back(&set.rules()[number]);
  return rules;
}

void Compare(const RuleSet& set, const Flow& flow, Dice& dice) {
  const auto decision =
      set.DecideFlow(flow.transport, flow.name ? &*flow.name : nullptr, flow.address, flow.port);
  const Reading wanted = Read(set.rules(), flow);
  INFO((flow.name ? flow.name->text() : flow.address.ToString()) << ":" << flow.port);
  REQUIRE(decision.http_allowed == (wanted.action == Reading::Action::kHttp));
  if (!decision.http_allowed) {
    REQUIRE(decision.rule == wanted.rule);
    return;
  }
  REQUIRE(Pointers(set, decision.http.all()) == wanted.requests);
  for (int i = 0; i < 10; ++i) {
    Headers headers;
    if (dice.Chance(50)) headers.Add("X-A", dice.Chance(50) ? "1" : "2");
    const auto& method = dice.Of(kMethods);
    const auto& path = dice.Of(kPaths);
    const auto request = set.DecideRequest(decision.http.all(), method, path, headers);
    REQUIRE(std::pair(request.rule, request.allowed) ==
            ReadRequest(wanted.requests, method, path, headers));
  }
}

TEST_CASE("compiled rules decide as reading them one after the other does") {
  for (unsigned seed = 0; seed < 400; ++seed) {
    INFO("seed " << seed);
    Dice dice(seed);
    RuleSet set;
    for (size_t i = dice.Below(40); i > 0; --i) set.Add(RandomRule(dice));
    for (int i = 0; i < 60; ++i) Compare(set, RandomFlow(dice), dice);
  }
}

TEST_CASE("prefixes that contain an address or a prefix are found, and only those") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    Dice dice(seed);
    PrefixLists lists;
    std::vector<Prefix> prefixes;
    const auto address = [&dice] {
      std::array<uint8_t, 16> bytes{};
      for (const size_t at : {0U, 1U, 3U, 8U, 15U})
        bytes[at] = uint8_t(dice.Below(3) << dice.Below(7));
      return dice.Chance(50) ? IpAddress::V4(bytes[0], bytes[1], 0, bytes[3])
                             : IpAddress::V6(std::span<const uint8_t, 16>(bytes));
    };
    for (uint32_t i = 0; i < 60; ++i) {
      const IpAddress base = address();
      prefixes.emplace_back(base, unsigned(dice.Below(base.is_v4() ? 33 : 129)));
      lists.Add(prefixes.back(), i);
    }
    // WANTED: an address or a prefix.
    const auto compare = [&](const auto& wanted) {
      std::vector<uint32_t> found;
      lists.ForEachContaining(wanted, [&found](const NameLists::List& list) {
        found.insert(found.end(), list.begin, list.end);
      });
      std::sort(found.begin(), found.end());
      std::vector<uint32_t> naive;
      for (uint32_t j = 0; j < prefixes.size(); ++j) {
        if (prefixes[j].Contains(wanted)) naive.push_back(j);
      }
      REQUIRE(found == naive);
    };
    for (int i = 0; i < 200; ++i) compare(address());
    for (int i = 0; i < 200; ++i) {
      const IpAddress base = address();
      compare(Prefix(base, unsigned(dice.Below(base.is_v4() ? 33 : 129))));
    }
  }
}

}  // namespace
}  // namespace sallyport::policy
