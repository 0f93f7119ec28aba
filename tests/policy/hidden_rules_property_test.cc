// Random rules: what FindHiddenRules says of the last one holds for the flows and requests of a
// small world, looked at one by one. The world has a witness for each pair of patterns of which one
// does not cover the other, so that what is decided all over it is decided everywhere.

#include <catch2/catch.hpp>
#include <random>

#include "policy/hidden_rules.h"

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

const std::vector<std::string> kPatterns = {"a.example", "b.example", "*.example", "any",
                                            "localhost"};
const std::vector<std::string> kNames = {"a.example", "b.example", "c.d.example", "z.test",
                                         "localhost"};
const std::vector<uint16_t> kPorts = {80, 81, 443, 500, 8443};
const std::vector<uint16_t> kWorldPorts = {80, 81, 200, 443, 450, 500, 8443, 9999};
const std::vector<std::string> kMethods = {"GET", "POST", "PUT", "DELETE"};  // PUT in no rule.
const std::vector<std::string> kGlobs = {"/a",     "/a/*",  "/a/b",   "/a/**",
                                         "/x/*/c", "/x/**", "/x/q/c", "/**"};
const std::vector<std::string> kPaths = {"/",  "/a",   "/a/",    "/a/b",   "/a/q", "/a/b/c",
                                         "/x", "/x/q", "/x/q/c", "/x/b/c", "/z",   "/x/q/c/d"};
const std::vector<std::string> kPrefixes = {"10.0.0.0/8",  "10.0.0.0/9", "10.128.0.0/9",
                                            "10.1.0.0/16", "0.0.0.0/0",  "8.8.8.0/24",
                                            "8.0.0.0/6"};
const std::vector<AddressClass> kGroups = {AddressClass::kPrivate, AddressClass::kPublic,
                                           AddressClass::kMetadata};
const std::vector<std::string> kAddresses = {
    "10.0.0.1",   "10.1.0.1",        "10.200.0.1", "8.8.8.8", "9.9.9.9", "1.1.1.1",
    "172.16.0.1", "169.254.169.254", "127.0.0.1",  "2600::1", "fc00::1", "fd00:ec2::254"};

HostPattern Pattern(const std::string& text) {
  return text == "any" ? HostPattern::Any() : *HostPattern::Parse(text);
}

Rule NamedRule(Dice& dice) {
  Rule rule;
  rule.kind = dice.Chance(75) ? Rule::Kind::kHttp : Rule::Kind::kTcp;
  rule.effect = dice.Chance(60) ? Rule::Effect::kAllow : Rule::Effect::kDeny;
  rule.hosts.push_back(Pattern(dice.Of(kPatterns)));
  if (dice.Chance(20)) rule.hosts.push_back(Pattern(dice.Of(kPatterns)));
  for (size_t i = dice.Below(3); i > 0; --i) {
    if (dice.Chance(25)) {
      rule.ports.Add(80, dice.Chance(50) ? 443 : 500);
    } else {
      const uint16_t port = dice.Of(kPorts);
      rule.ports.Add(port, port);
    }
  }
  if (rule.kind != Rule::Kind::kHttp) return rule;
  for (size_t i = dice.Below(3); i > 0; --i) {
    const size_t method = dice.Below(3);
    rule.methods.push_back(kMethods[method == 2 ? 3 : method]);
  }
  for (size_t i = dice.Below(3); i > 0; --i)
    rule.paths.push_back(*PathGlob::Parse(dice.Of(kGlobs)));
  if (dice.Chance(15)) {
    rule.headers.push_back({"x-a", {}});
    if (dice.Chance(60)) rule.headers.back().values = {dice.Chance(50) ? "1" : "2"};
  }
  return rule;
}

Rule AddressedRule(Dice& dice) {
  Rule rule;
  rule.kind = Rule::Kind::kTcp;
  rule.effect = dice.Chance(60) ? Rule::Effect::kAllow : Rule::Effect::kDeny;
  rule.ip.emplace().classes = 0;
  if (dice.Chance(25)) {
    rule.ip->classes = static_cast<uint16_t>(dice.Of(kGroups));
  } else {
    rule.ip->prefixes.push_back(*Prefix::Parse(dice.Of(kPrefixes)));
  }
  if (dice.Chance(30)) rule.ports.Add(80, 80);
  return rule;
}

/// Something that a guest may do.
struct Event {
  std::optional<HostName> name;
  IpAddress address;
  uint16_t port = 0;
  std::string method;
  std::string path;
  Headers headers;
};

std::vector<Event> World(bool named) {
  std::vector<Event> world;
  for (const auto& where : named ? kNames : kAddresses) {
    for (const uint16_t port : kWorldPorts) {
      Event event;
      event.port = port;
      if (!named) {
        event.address = *IpAddress::Parse(where);
        world.push_back(event);
        continue;
      }
      event.name = *HostName::Parse(where);
      for (const auto& method : kMethods) {
        event.method = method;
        for (const auto& path : kPaths) {
          event.path = path;
          for (const char* value : {"", "1", "2", "3"}) {
            event.headers = Headers();
            if (*value != '\0') event.headers.Add("X-A", value);
            world.push_back(event);
          }
        }
      }
    }
  }
  return world;
}

bool SpeaksOf(const Rule& rule, const Event& event) {
  return rule.ports.Contains(event.port) &&
         (event.name ? rule.MatchesName(*event.name) : rule.MatchesAddress(event.address));
}

// What decides EVENT, of which the last rule speaks, before it; null if that rule does.
const Rule* DecidedBefore(const std::vector<Rule>& rules, const Event& event) {
  const Rule& last = rules.back();
  for (size_t i = 0; i + 1 < rules.size(); ++i) {
    const Rule& rule = rules[i];
    if (!SpeaksOf(rule, event)) continue;
    if (rule.kind == Rule::Kind::kTcp) return &rule;
    if (last.kind == Rule::Kind::kTcp) {
      if (rule.allows() || rule.matches_every_request()) return &rule;
      continue;
    }
    if (rule.MatchesRequest(event.method, event.path, event.headers)) return &rule;
  }
  return nullptr;
}

struct Findings {
  size_t events = 0;
  size_t granted = 0;  // By an earlier `allow`.
};

// What becomes of the events that the last rule speaks of and ITEM has.
template <class Item>
Findings LookAt(const std::vector<Rule>& rules, const std::vector<Event>& world, Item&& item) {
  Findings found;
  const Rule& last = rules.back();
  for (const Event& event : world) {
    if (!SpeaksOf(last, event) || !item(event)) continue;
    if (last.kind == Rule::Kind::kHttp &&
        !last.MatchesRequest(event.method, event.path, event.headers)) {
      continue;
    }
    ++found.events;
    const Rule* by = DecidedBefore(rules, event);
    if (by != nullptr && by->allows()) ++found.granted;
  }
  return found;
}

void Check(const RuleSet& set, const std::vector<Event>& world) {
  const std::vector<Rule>& rules = set.rules();
  const Rule& last = rules.back();
  Diagnostics diagnostics("p.lua");
  FindHiddenRules(set, diagnostics);
  bool error = false;
  bool told = false;
  for (const Diagnostic& diagnostic : diagnostics.Take()) {
    INFO(diagnostic.ToString());
    if (diagnostic.line != last.line) continue;
    error |= diagnostic.severity == Diagnostic::Severity::kError;
    told = true;
  }
  if (last.allows()) {
    REQUIRE_FALSE(error);
    return;
  }
  const auto all = LookAt(rules, world, [](const Event&) { return true; });
  if (error) REQUIRE(all.granted > 0);
  // A part of it that is granted already, all of it, is always found.
  for (const HostPattern& host : last.hosts) {
    INFO(host.ToString());
    const auto part =
        LookAt(rules, world, [&host](const Event& event) { return host.Matches(*event.name); });
    if (part.events > 0 && part.granted == part.events) REQUIRE(error);
  }
  if (!last.ip) return;
  for (const Prefix& prefix : last.ip->prefixes) {
    // A warning where a `deny` like it, itself without effect, stands before.
    INFO(prefix.ToString());
    const auto part = LookAt(
        rules, world, [&prefix](const Event& event) { return prefix.Contains(event.address); });
    if (part.events > 0 && part.granted == part.events) REQUIRE(told);
  }
}

// The rules of addresses in words, for a failure.
std::string Describe(const RuleSet& set) {
  std::string text;
  for (const Rule& rule : set.rules()) {
    text += std::string(ToString(rule.effect)) + " port " + rule.ports.ToString();
    if (rule.ip) {
      for (const Prefix& prefix : rule.ip->prefixes) text += " " + prefix.ToString();
      text += " classes " + std::to_string(rule.ip->classes);
    }
    text += "\n";
  }
  return text;
}

void CheckMany(bool named) {
  const std::vector<Event> world = World(named);
  for (unsigned seed = 0; seed < (named ? 250u : 3000u); ++seed) {
    INFO("seed " << seed);
    Dice dice(seed);
    RuleSet set;
    for (int line = 1 + static_cast<int>(dice.Below(4)); line >= 0; --line) {
      Rule rule = named ? NamedRule(dice) : AddressedRule(dice);
      rule.line = line + 1;  // The last rule has line 1.
      set.Add(std::move(rule));
    }
    INFO(Describe(set));
    Check(set, world);
  }
}

TEST_CASE("a deny of names without effect is found, and no other is") {
  CheckMany(/*named=*/true);
}

TEST_CASE("a deny of addresses without effect is found, and what is said to have none has none") {
  CheckMany(/*named=*/false);
}

TEST_CASE("a pattern that covers another matches all that it matches, and no others do") {
  for (const std::string& a : kGlobs) {
    for (const std::string& b : kGlobs) {
      INFO(a << " " << b);
      const auto wide = PathGlob::Parse(a);
      const auto narrow = PathGlob::Parse(b);
      bool covers = true;
      for (const std::string& path : kPaths)
        covers = covers && (!narrow->Matches(path) || wide->Matches(path));
      CHECK(wide->Covers(*narrow) == covers);
    }
  }
}

}  // namespace
}  // namespace sallyport::policy
