#include "policy/rule_check.h"

#include <algorithm>

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

bool CoversPrefix(const AddressFilter& wide, const Prefix& narrow) {
  if (std::any_of(wide.prefixes.begin(), wide.prefixes.end(),
                  [&narrow](const Prefix& prefix) { return prefix.Contains(narrow); })) {
    return true;
  }
  const auto address_class = ClassOf(narrow);
  return address_class && (static_cast<uint16_t>(*address_class) & wide.classes) != 0;
}

void CheckHiddenHosts(const RuleSet& rules, uint32_t number, Diagnostics& diagnostics) {
  const Rule& later = rules.rules()[number];
  for (const HostPattern& pattern : later.hosts) {
    const auto earlier = rules.index().FirstCovering(
        pattern, number, [&](uint32_t other) { return Decides(rules.rules()[other], later); });
    if (!earlier) continue;
    ReportHidden(rules.rules()[*earlier], later, "'" + pattern.ToString() + "'", diagnostics);
  }
}

void CheckHiddenAddresses(const RuleSet& rules, uint32_t number, Diagnostics& diagnostics) {
  const Rule& later = rules.rules()[number];
  if (!later.ip) return;
  for (uint32_t i = 0; i < number; ++i) {
    const Rule& earlier = rules.rules()[i];
    if (!earlier.ip || !Decides(earlier, later)) continue;
    if ((earlier.ip->classes & later.ip->classes) != 0) {
      ReportHidden(earlier, later, "a group of addresses", diagnostics);
    }
    for (const Prefix& prefix : later.ip->prefixes) {
      if (CoversPrefix(*earlier.ip, prefix))
        ReportHidden(earlier, later, prefix.ToString(), diagnostics);
    }
  }
}

bool Overlap(const HostPattern& a, const HostPattern& b) {
  return a.Covers(b) || b.Covers(a);
}

const HostPattern* FirstOverlap(const std::vector<HostPattern>& a,
                                const std::vector<HostPattern>& b) {
  for (const HostPattern& x : a) {
    for (const HostPattern& y : b) {
      if (Overlap(x, y)) return &y;
    }
  }
  return nullptr;
}

PortSet WebPorts() {
  PortSet ports;
  ports.Add(80, 80);
  ports.Add(443, 443);
  return ports;
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

void CheckUnseen(const RuleSet& rules, const Rule& raw, const std::vector<SecretSpec>& secrets,
                 const std::vector<HostPattern>& hooked_hosts, Diagnostics& diagnostics) {
  for (const Rule& rule : rules.rules()) {
    if (rule.kind != Kind::kHttp || !CarriesHttp(raw, rule.ports)) continue;
    const HostPattern* host = FirstOverlap(raw.hosts, rule.hosts);
    if (host != nullptr)
      return ReportUnseen(raw, *host, "http rules (" + rule.id + ")", diagnostics);
  }
  for (const SecretSpec& secret : secrets) {
    PortSet ports;
    for (const uint16_t port : secret.ports) ports.Add(port, port);
    if (!CarriesHttp(raw, ports.is_all() ? WebPorts() : ports)) continue;
    const HostPattern* host = FirstOverlap(raw.hosts, secret.hosts);
    if (host != nullptr) return ReportUnseen(raw, *host, "the secret " + secret.name, diagnostics);
  }
  if (!CarriesHttp(raw, WebPorts())) return;
  const HostPattern* host = FirstOverlap(raw.hosts, hooked_hosts);
  if (host != nullptr) ReportUnseen(raw, *host, "an on.request hook", diagnostics);
}

}  // namespace

void CheckRules(const RuleSet& rules, const std::vector<SecretSpec>& secrets,
                const std::vector<HostPattern>& hooked_hosts, Diagnostics& diagnostics) {
  for (uint32_t number = 0; number < rules.rules().size(); ++number) {
    CheckHiddenHosts(rules, number, diagnostics);
    CheckHiddenAddresses(rules, number, diagnostics);
    const Rule& rule = rules.rules()[number];
    const bool raw = rule.kind == Kind::kTcp || rule.kind == Kind::kUdp;
    if (raw && rule.allows()) CheckUnseen(rules, rule, secrets, hooked_hosts, diagnostics);
  }
}

}  // namespace sallyport::policy
