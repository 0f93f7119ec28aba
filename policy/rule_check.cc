#include "policy/rule_check.h"

#include <algorithm>
#include <map>

namespace sallyport::policy {
namespace {

using Kind = Rule::Kind;

std::string NameOf(const Rule& rule) {
  return std::string(ToString(rule.effect)) + "." + std::string(ToString(rule.kind));
}

bool CoversPath(const std::string& wide, const std::string& narrow) {
  if (wide == narrow) return true;
  if (!wide.ends_with("/**")) return false;
  const std::string prefix = wide.substr(0, wide.size() - 3);
  if (prefix.find('*') != prefix.npos) return false;
  return narrow == prefix || narrow.starts_with(prefix + "/");
}

// Whether EARLIER decides every request that LATER speaks of.
bool CoversRequests(const Rule& earlier, const Rule& later) {
  if (earlier.otherwise || earlier.matches_every_request()) return true;
  if (!earlier.headers.empty()) return false;
  const auto has_method = [&earlier](const std::string& method) {
    return std::find(earlier.methods.begin(), earlier.methods.end(), method) !=
           earlier.methods.end();
  };
  const bool methods = earlier.methods.empty() ||
                       (!later.methods.empty() &&
                        std::all_of(later.methods.begin(), later.methods.end(), has_method));
  const auto has_path = [&earlier](const PathGlob& path) {
    return std::any_of(earlier.paths.begin(), earlier.paths.end(), [&path](const PathGlob& wide) {
      return CoversPath(wide.text(), path.text());
    });
  };
  const bool paths =
      earlier.paths.empty() ||
      (!later.paths.empty() && std::all_of(later.paths.begin(), later.paths.end(), has_path));
  return methods && paths;
}

// Whether EARLIER decides all that LATER speaks of, for hosts or addresses that both have.
bool Decides(const Rule& earlier, const Rule& later) {
  if (earlier.kind == Kind::kDns || later.kind == Kind::kDns) {
    // A denied lookup ends every use of the name; an allowed use of it needs the lookup.
    if (!earlier.allows()) return earlier.kind == Kind::kDns;
    if (later.kind != Kind::kDns) return false;
    if (!later.allows()) return true;
    return earlier.kind == Kind::kDns && std::includes(earlier.types.begin(), earlier.types.end(),
                                                       later.types.begin(), later.types.end());
  }
  if (!earlier.ports.Covers(later.ports)) return false;
  if (earlier.kind == Kind::kHttp && later.kind == Kind::kTcp) {
    return earlier.allows() || earlier.matches_every_request();
  }
  if (earlier.kind == Kind::kTcp && later.kind == Kind::kHttp) return true;
  if (earlier.kind != later.kind) return false;
  return earlier.kind != Kind::kHttp || CoversRequests(earlier, later);
}

void ReportHidden(const Rule& earlier, const Rule& later, const std::string& what,
                  Diagnostics& diagnostics) {
  const std::string by = earlier.id + " (" + NameOf(earlier) + ")";
  if (earlier.allows() && (!later.allows() || later.otherwise)) {
    const std::string refused =
        later.allows() ? "the 'otherwise' of " + NameOf(later) : NameOf(later);
    return diagnostics.Error(later.line, refused + " has no effect on " + what +
                                             ": the earlier rule " + by +
                                             " decides first; put the narrower rule before it");
  }
  diagnostics.Warning(later.line,
                      NameOf(later) + " of " + what + " can never apply: " + by + " decides first");
}

// The group that all of PREFIX belongs to, as far as its two ends show it.
std::optional<AddressClass> ClassOf(const Prefix& prefix) {
  std::array<uint8_t, 16> last{};
  const auto bytes = prefix.address().bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t kept =
        std::clamp<size_t>(prefix.length() > i * 8 ? prefix.length() - i * 8 : 0, 0, 8);
    last[i] = static_cast<uint8_t>(bytes[i] | (0xffu >> kept));
  }
  const IpAddress end = prefix.address().is_v4()
                            ? IpAddress::V4(last[0], last[1], last[2], last[3])
                            : IpAddress::V6(std::span<const uint8_t, 16>(last));
  const AddressClass first = Classify(prefix.address());
  if (Classify(end) != first) return std::nullopt;
  return first;
}

// What is left of the work that looking for hidden rules may do: a pair of rules costs as many steps
// as they have paths to compare. Some 30 ms; enough for 1,400 rules about one host, each with each.
constexpr size_t kMostSteps = 1'000'000;
// Pairs of a rule for raw bytes and a host whose requests are to be seen; some 50 ms.
constexpr size_t kMostMeetings = 10'000'000;

class Effort {
 public:
  /// Whether EARLIER hides LATER; false, too, once the effort is spent.
  bool Hides(const Rule& earlier, const Rule& later) {
    const size_t cost = 1 + earlier.paths.size() * later.paths.size() +
                        earlier.methods.size() * later.methods.size();
    if (cost > left_) {
      spent_ = true;
      return false;
    }
    left_ -= cost;
    return Decides(earlier, later);
  }
  bool spent() const { return spent_; }

 private:
  size_t left_ = kMostSteps;
  bool spent_ = false;
};

void CheckHiddenHosts(const RuleSet& rules, uint32_t number, Effort& effort,
                      Diagnostics& diagnostics) {
  const Rule& later = rules.rules()[number];
  for (const HostPattern& pattern : later.hosts) {
    rules.hosts().ForEachCovering(pattern, [&](uint32_t other) {
      if (other >= number || effort.spent()) return false;
      const Rule& earlier = rules.rules()[other];
      if (!effort.Hides(earlier, later)) return true;
      ReportHidden(earlier, later, "'" + pattern.ToString() + "'", diagnostics);
      return false;
    });
  }
}

// Each group and prefix of LATER, with the first rule that hides it.
void CheckHiddenAddresses(const RuleSet& rules, uint32_t number, Effort& effort,
                          Diagnostics& diagnostics) {
  const Rule& later = rules.rules()[number];
  if (!later.ip) return;
  const auto check = [&](const Prefix* prefix, uint16_t classes, const std::string& what) {
    rules.addresses().ForEachCovering(prefix, classes, [&](uint32_t other) {
      if (other >= number || effort.spent()) return false;
      const Rule& earlier = rules.rules()[other];
      if (!effort.Hides(earlier, later)) return true;
      ReportHidden(earlier, later, what, diagnostics);
      return false;
    });
  };
  if (later.ip->classes != 0) check(nullptr, later.ip->classes, "a group of addresses");
  for (const Prefix& prefix : later.ip->prefixes) {
    const auto group = ClassOf(prefix);
    check(&prefix, group ? static_cast<uint16_t>(*group) : uint16_t{0}, prefix.ToString());
  }
}

void ReportUnseen(const Rule& raw, const HostPattern& host, const std::string& what,
                  Diagnostics& diagnostics) {
  diagnostics.Error(
      raw.line, NameOf(raw) + " covers '" + host.ToString() + "', which has " + what +
                    ": its bytes would pass unseen; use allow.http for it, or name other ports");
}

// UDP matters for its port 443 alone, where HTTP/3 would go around the rules for HTTP.
bool CarriesHttp(const Rule& raw, const PortSet& ports) {
  if (raw.kind == Kind::kTcp) return raw.ports.Intersects(ports);
  return raw.kind == Kind::kUdp && raw.ports.Contains(443) && ports.Contains(443);
}

PortSet WebPorts() {
  PortSet ports;
  ports.Add(80, 80);
  ports.Add(443, 443);
  return ports;
}

// Finds rules for raw bytes over hosts whose requests are to be seen. Patterns overlap when one
// covers the other, so each side is looked up in an index of the other side.
class UnseenCheck {
 public:
  UnseenCheck(const RuleSet& rules, const std::vector<SecretSpec>& secrets,
              const std::vector<HostPattern>& hooked_hosts)
      : rules_(rules.rules()) {
    for (const Rule& rule : rules_) {
      if (rule.kind == Kind::kHttp) Watch(rule.hosts, rule.ports, "http rules (" + rule.id + ")");
    }
    for (const SecretSpec& secret : secrets) {
      PortSet ports;
      for (const uint16_t port : secret.ports) ports.Add(port, port);
      Watch(secret.hosts, ports.is_all() ? WebPorts() : ports, "the secret " + secret.name);
    }
    Watch(hooked_hosts, WebPorts(), "an on.request hook");
  }

  void Run(Diagnostics& diagnostics) {
    if (watched_.empty()) return;
    for (uint32_t number = 0; number < rules_.size(); ++number) {
      const Rule& rule = rules_[number];
      const bool raw = rule.kind == Kind::kTcp || rule.kind == Kind::kUdp;
      if (!raw || !rule.allows()) continue;
      for (const HostPattern& host : rule.hosts) raw_index_.Add(host, number);
      FindAround(number);
    }
    FindWithin();
    for (const auto& [number, found] : found_) {
      ReportUnseen(rules_[number], *found.host, watched_[found.watched].what, diagnostics);
    }
    // It can't be left out, so a file for which it takes too long does not load.
    if (left_ == 0) {
      diagnostics.Error(0, "too many rules for raw bytes meet hosts whose requests are to be seen");
    }
  }

 private:
  struct Watched {
    const std::vector<HostPattern>* hosts;
    PortSet ports;
    std::string what;
  };
  struct Found {
    uint32_t watched;
    const HostPattern* host;
  };

  void Watch(const std::vector<HostPattern>& hosts, const PortSet& ports, std::string what) {
    const auto number = static_cast<uint32_t>(watched_.size());
    for (const HostPattern& host : hosts) index_.Add(host, number);
    watched_.push_back({&hosts, ports, std::move(what)});
  }

  // Takes the pair into account; false when it ends the search.
  bool Meet(uint32_t number, uint32_t watched, const HostPattern* host) {
    if (left_ == 0) return false;
    --left_;
    if (!CarriesHttp(rules_[number], watched_[watched].ports)) return true;
    const auto [found, first] = found_.try_emplace(number, Found{watched, host});
    if (!first && watched < found->second.watched) found->second = {watched, host};
    return false;
  }

  // Watched hosts that have a pattern around one of the rule's own.
  void FindAround(uint32_t number) {
    for (const HostPattern& host : rules_[number].hosts) {
      index_.ForEachCovering(host, [&](uint32_t watched) {
        for (const HostPattern& wide : *watched_[watched].hosts) {
          if (wide.Covers(host)) return Meet(number, watched, &wide);
        }
        return true;
      });
    }
  }

  // Watched hosts within a pattern of a rule's.
  void FindWithin() {
    for (uint32_t watched = 0; watched < watched_.size(); ++watched) {
      for (const HostPattern& host : *watched_[watched].hosts) {
        raw_index_.ForEachCovering(host, [&](uint32_t number) {
          Meet(number, watched, &host);
          return left_ > 0;
        });
      }
    }
  }

  const std::vector<Rule>& rules_;
  std::vector<Watched> watched_;
  HostIndex index_;      // Of watched_.
  HostIndex raw_index_;  // Of the rules for raw bytes.
  std::map<uint32_t, Found> found_;
  size_t left_ = kMostMeetings;
};

}  // namespace

void CheckRules(const RuleSet& rules, const std::vector<SecretSpec>& secrets,
                const std::vector<HostPattern>& hooked_hosts, Diagnostics& diagnostics) {
  Effort effort;
  for (uint32_t number = 0; number < rules.rules().size(); ++number) {
    CheckHiddenHosts(rules, number, effort, diagnostics);
    CheckHiddenAddresses(rules, number, effort, diagnostics);
  }
  if (effort.spent()) {
    diagnostics.Warning(0,
                        "so many rules speak of the same hosts or addresses that not all were "
                        "looked at for rules that hide others");
  }
  UnseenCheck(rules, secrets, hooked_hosts).Run(diagnostics);
}

}  // namespace sallyport::policy
