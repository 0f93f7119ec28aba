#include "policy/rule_check.h"

#include <algorithm>
#include <deque>
#include <map>

#include "policy/hidden_rules.h"

namespace sallyport::policy {
namespace {

using Kind = Rule::Kind;

std::string NameOf(const Rule& rule) {
  return std::string(ToString(rule.effect)) + "." + std::string(ToString(rule.kind));
}

// Pairs of a rule for raw bytes and a host whose requests are to be seen; some 50 ms.
constexpr size_t kMostMeetings = 10'000'000;

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
    IndexRaw();
    watched_.reserve(rules_.size() + secrets.size() + 1);
    for (const Rule& rule : rules_) {
      if (rule.kind != Kind::kHttp) continue;
      Watch({.hosts = &rule.hosts, .ports = &rule.ports, .rule = &rule});
    }
    for (const SecretSpec& secret : secrets) {
      const PortSet* ports = &web_ports_;
      if (!secret.ports.empty()) ports = &ports_of_secrets_.emplace_back();
      for (const uint16_t port : secret.ports) ports_of_secrets_.back().Add(port, port);
      Watch({.hosts = &secret.hosts, .ports = ports, .secret = &secret});
    }
    if (!hooked_hosts.empty()) Watch({.hosts = &hooked_hosts, .ports = &web_ports_});
  }

  void Run(Diagnostics& diagnostics) {
    if (watched_.empty()) return;
    for (uint32_t number = 0; number < rules_.size(); ++number) {
      if (IsRaw(rules_[number])) FindAround(number);
    }
    if (has_wide_raw_) FindWithin();
    for (const Rule& rule : rules_) FindAddressed(rule, diagnostics);
    for (const auto& [number, found] : found_) {
      ReportUnseen(rules_[number], *found.host, watched_[found.watched].What(), diagnostics);
    }
    // It can't be left out, so a file for which it takes too long does not load.
    if (left_ == 0) {
      diagnostics.Error(0, "too many rules for raw bytes meet hosts whose requests are to be seen");
    }
  }

 private:
  struct Watched {
    const std::vector<HostPattern>* hosts;
    const PortSet* ports;
    // Whose they are; without either, those of hooks.
    const Rule* rule = nullptr;
    const SecretSpec* secret = nullptr;

    std::string What() const {
      if (rule != nullptr) return "http rules (" + rule->id + ")";
      return secret != nullptr ? "the secret " + secret->name : "an on.request hook";
    }
  };
  struct Found {
    uint32_t watched;
    const HostPattern* host;
  };

  // A rule that grants raw bytes.
  static bool IsRaw(const Rule& rule) {
    return (rule.kind == Kind::kTcp || rule.kind == Kind::kUdp) && rule.allows();
  }

  static bool IsWide(const HostPattern& host) { return host.is_any() || host.is_wildcard(); }

  void IndexRaw() {
    for (uint32_t number = 0; number < rules_.size(); ++number) {
      if (!IsRaw(rules_[number])) continue;
      for (const HostPattern& host : rules_[number].hosts) {
        (IsWide(host) ? wide_raw_ : exact_raw_).Add(host, number);
        has_wide_raw_ |= IsWide(host);
      }
    }
  }

  void Watch(Watched watched) {
    const auto number = static_cast<uint32_t>(watched_.size());
    for (const HostPattern& host : *watched.hosts) {
      // A single name is around no other, and most of thousands have no rule for raw bytes.
      if (IsWide(host) || exact_raw_.Listing(host.name()->text()).begin != nullptr)
        index_.Add(host, number);
    }
    watched_.push_back(std::move(watched));
  }

  // Takes the pair into account; false when it ends the search.
  bool Meet(uint32_t number, uint32_t watched, const HostPattern* host) {
    if (left_ == 0) return false;
    --left_;
    if (!CarriesHttp(rules_[number], *watched_[watched].ports)) return true;
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

  // Whoever connects to an address, without asking for a name, is no flow of the name's rules.
  void FindAddressed(const Rule& rule, Diagnostics& diagnostics) {
    if (!IsRaw(rule) || !rule.ip || !SpansPublic(*rule.ip)) return;
    for (const Watched& watched : watched_) {
      if (left_ == 0) return;
      --left_;
      if (!CarriesHttp(rule, *watched.ports)) continue;
      return diagnostics.Warning(
          rule.line, NameOf(rule) + " by 'ip' goes around " + watched.What() +
                         ": who connects to an address is not asked for a name, and nobody sees "
                         "the requests; name single addresses, or use allow.http { ip = ... }");
    }
  }

  // Whether more public addresses than some single ones are in it.
  static bool SpansPublic(const AddressFilter& filter) {
    constexpr auto kPublic = static_cast<uint16_t>(AddressClass::kPublic);
    if ((filter.classes & kPublic) != 0) return true;
    return std::any_of(filter.prefixes.begin(), filter.prefixes.end(), [](const Prefix& prefix) {
      const unsigned all = prefix.address().is_v4() ? 32 : 128;
      return prefix.length() < all && (ClassesIn(prefix) & kPublic) != 0;
    });
  }

  // Watched hosts within a wildcard of a rule's; two that are the same name have been found.
  void FindWithin() {
    for (uint32_t watched = 0; watched < watched_.size(); ++watched) {
      for (const HostPattern& host : *watched_[watched].hosts) {
        wide_raw_.ForEachCovering(host, [&](uint32_t number) {
          Meet(number, watched, &host);
          return left_ > 0;
        });
      }
    }
  }

  const std::vector<Rule>& rules_;
  const PortSet web_ports_ = WebPorts();
  std::deque<PortSet> ports_of_secrets_;
  std::vector<Watched> watched_;
  HostIndex index_;      // Of watched_, those that may be around a host of a rule for raw bytes.
  HostIndex exact_raw_;  // Of the rules for raw bytes: single names,
  HostIndex wide_raw_;   // and wildcards and `any`.
  bool has_wide_raw_ = false;
  std::map<uint32_t, Found> found_;
  size_t left_ = kMostMeetings;
};

// A `name` stands for a rule wherever a decision is told. Rules that one line declares, in a loop, may
// share it.
void FindSharedNames(const std::vector<Rule>& rules, Diagnostics& diagnostics) {
  std::map<std::string_view, const Rule*> named;
  for (const Rule& rule : rules) {
    if (rule.id.starts_with(diagnostics.At(rule.line))) continue;  // Not a name of the file's.
    const auto [first, is_new] = named.emplace(rule.id, &rule);
    if (is_new || first->second->line == rule.line) continue;
    diagnostics.Error(rule.line, "two rules are called '" + rule.id + "'; the first is at " +
                                     diagnostics.At(first->second->line));
  }
}

}  // namespace

void CheckRules(const RuleSet& rules, const std::vector<SecretSpec>& secrets,
                const std::vector<HostPattern>& hooked_hosts, Diagnostics& diagnostics) {
  FindHiddenRules(rules, diagnostics);
  FindSharedNames(rules.rules(), diagnostics);
  UnseenCheck(rules, secrets, hooked_hosts).Run(diagnostics);
}

}  // namespace sallyport::policy
