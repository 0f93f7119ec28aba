#include "policy/rule_set.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

#include "policy/special_names.h"

namespace sallyport::policy {
namespace {

// A deny that leaves RULE, which stands after it, nothing to grant.
bool TakesEverything(const Rule& deny, const Rule& rule) {
  if (!deny.matches_every_request() || !deny.ports.Covers(rule.ports)) return false;
  if (deny.kind == rule.kind) return true;
  return deny.kind == Rule::Kind::kTcp && rule.kind == Rule::Kind::kHttp;
}

// A deny of all requests on the web's ports: for most who ask of the name, of everything.
bool RefusesTheWeb(const Rule& deny) {
  if (deny.kind != Rule::Kind::kHttp && deny.kind != Rule::Kind::kTcp) return false;
  return deny.matches_every_request() && deny.ports.Contains(80) && deny.ports.Contains(443);
}

// What stands behind the first dot; empty for a single label.
std::string_view ParentOf(std::string_view name) {
  const size_t dot = name.find('.');
  return dot == name.npos ? std::string_view() : name.substr(dot + 1);
}

// Whether PORTS are what an http rule has that names none.
bool IsJustTheWeb(const PortSet& ports) {
  size_t others = 0;
  ports.ForEachRange([&others](uint16_t first, uint16_t last) {
    others += first != last || (first != 80 && first != 443);
  });
  return others == 0 && !ports.is_all() && ports.Contains(80) && ports.Contains(443);
}

// A file with more rules than the first may have as many as the second.
constexpr size_t kManyRules = 512;
constexpr size_t kRoomForMany = 16384;

// Advice that the kernel may leave: in huge pages, megabytes are there with a few faults in place
// of thousands.
void WantHugePages(const void* begin, size_t size) {
  constexpr uintptr_t kPage = 4096;
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t first = (address + kPage - 1) & ~(kPage - 1);
  const uintptr_t last = (address + size) & ~(kPage - 1);
  (void)madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

// Whether FILTER, of an `allow`, grants each address that its prefixes contain.
bool GrantsAllItHas(const AddressFilter& filter) {
  return std::all_of(filter.prefixes.begin(), filter.prefixes.end(), [](const Prefix& prefix) {
    return prefix.address().is_v4() && std::has_single_bit(ClassesIn(prefix));
  });
}

void Merge(const AddressFilter& from, AddressFilter& into) {
  into.classes = static_cast<uint16_t>(into.classes | from.classes);
  into.prefixes.insert(into.prefixes.end(), from.prefixes.begin(), from.prefixes.end());
}

}  // namespace

RuleSet::Digest::Digest(const Rule& rule)
    : kind(rule.kind),
      effect(rule.effect),
      every_request(rule.matches_every_request()),
      has_otherwise(rule.rare->otherwise.has_value()),
      passthrough(rule.tls == Rule::Tls::kPassthrough),
      plain(!rule.rare->to && rule.resolves == AddressFilter()),
      grants_all_of_ip(rule.ip && GrantsAllItHas(*rule.ip)),
      has_web_ports(IsJustTheWeb(rule.ports)),
      has_more_ports(false) {
  if (rule.ports.is_all()) {
    first_port = 0;
    last_port = UINT16_MAX;
  }
  if (has_web_ports) return;
  rule.ports.ForEachRange([this](uint16_t first, uint16_t last) {
    if (first_port <= last_port) {
      has_more_ports = true;
      return;
    }
    first_port = first;
    last_port = last;
  });
}

bool RuleSet::Digest::Speaks(Transport transport) const {
  switch (transport) {
    case Transport::kTcp:
      return kind == Rule::Kind::kTcp || kind == Rule::Kind::kHttp;
    case Transport::kUdp:
      return kind == Rule::Kind::kUdp;
    case Transport::kIcmp:
      return kind == Rule::Kind::kIcmp;
  }
  return false;
}

bool RuleSet::Digest::ContainsInNear(uint16_t port) const {
  return (first_port <= port && port <= last_port) ||
         (has_web_ports && (port == 80 || port == 443));
}

void RuleSet::Add(Rule&& rule) {
  const auto number = static_cast<uint32_t>(rules_.size());
  // Address space that nothing is written to costs less than moving half of the rules again and again.
  if (number == kManyRules && rules_.capacity() < kRoomForMany) {
    rules_.reserve(kRoomForMany);
    WantHugePages(rules_.data(), kRoomForMany * sizeof(Rule));
  }
  for (const HostPattern& pattern : rule.hosts) {
    hosts_.Add(pattern, number);
    if (!rule.allows() || pattern.is_any()) continue;
    std::string_view above = pattern.name()->text();
    if (!pattern.is_wildcard()) above = ParentOf(above);
    // Above one that is there already, all are.
    for (; !above.empty() && ancestors_.Find(above).begin == nullptr; above = ParentOf(above))
      ancestors_.Add(above, 0);
  }
  if (rule.ip) {
    addresses_.Add(*rule.ip,
                   rule.allows() ? AddressIndex::Widens::kNo : AddressIndex::Widens::kEmbedded,
                   number);
  }
  digests_.emplace_back(rule);
  rules_.push_back(std::move(rule));
}

bool RuleSet::Consider(uint32_t number, Transport transport, uint16_t port,
                       FlowDecision& decision) const {
  const Digest& digest = digests_[number];
  if (!digest.Speaks(transport)) return true;
  if (!digest.ContainsInNear(port) &&
      !(digest.has_more_ports && rules_[number].ports.Contains(port))) {
    return true;
  }
  const bool http = digest.kind == Rule::Kind::kHttp;
  const bool denies = digest.effect == Rule::Effect::kDeny;
  if (!http || (denies && digest.every_request)) {
    // With requests granted by an earlier rule the flow is HTTP already.
    if (!decision.http_allowed) {
      decision.rule = &rules_[number];
      decision.effect = digest.effect;
      if (denies) decision.refuses = decision.rule;
      return false;
    }
    if (!http) return false;
  }
  AddHttp(number, digest, decision);
  return !digest.every_request && !digest.has_otherwise;
}

void RuleSet::AddHttp(uint32_t number, const Digest& digest, FlowDecision& decision) const {
  decision.http.Add(number);
  decision.passthrough = digest.passthrough && decision.http.size() == 1;
  if (digest.effect == Rule::Effect::kDeny) {
    if (decision.refuses == nullptr) decision.refuses = &rules_[number];
    return;
  }
  decision.http_allowed = true;
  if (decision.grants == nullptr) decision.grants = &rules_[number];
  decision.plain = decision.plain && digest.plain;
}

RuleSet::FlowDecision RuleSet::DecideFlow(Transport transport, const HostName* name,
                                          const IpAddress& address, uint16_t port) const {
  FlowDecision decision;
  if (name != nullptr) {
    const bool special = IsSpecialName(name->text());
    hosts_.ForEachMatch(name->text(), [&](uint32_t number) {
      if (special && !rules_[number].MatchesName(*name)) return true;
      return Consider(number, transport, port, decision);
    });
    return decision;
  }
  decision.plain = false;  // Each speaks of its own addresses.
  addresses_.ForEachMatch(address, [&](uint32_t number) {
    // The index has whole prefixes, of which an `allow` may mean less.
    const Digest& digest = digests_[number];
    if (digest.effect != Rule::Effect::kDeny && !digest.grants_all_of_ip &&
        !rules_[number].MatchesAddress(address)) {
      return true;
    }
    return Consider(number, transport, port, decision);
  });
  return decision;
}

RuleSet::NameDecision RuleSet::DecideName(const HostName& name) const {
  NameDecision decision;
  decision.ancestor = ancestors_.Find(name.text()).begin != nullptr;
  const NameLists::List listing = hosts_.Listing(name.text());
  bool all_chosen = true;
  std::vector<const Rule*> denies;
  const bool special = IsSpecialName(name.text());
  hosts_.ForEachMatch(name.text(), [&](uint32_t number) {
    const Rule& rule = rules_[number];
    if (special && !rule.MatchesName(name)) return true;
    if (!rule.allows()) {
      // Denying the lookup itself ends the matter, unless an earlier rule needs the name.
      if (rule.kind == Rule::Kind::kDns && !decision.grantable) {
        decision.denied_by = &rule;
        return false;
      }
      denies.push_back(&rule);
      if (decision.nothing_left_by == nullptr && RefusesTheWeb(rule)) decision.nothing_left_by = &rule;
      return true;
    }
    const auto taker =
        std::find_if(denies.begin(), denies.end(),
                     [&rule](const Rule* deny) { return TakesEverything(*deny, rule); });
    if (taker != denies.end()) {
      if (decision.nothing_left_by == nullptr) decision.nothing_left_by = *taker;
      return true;
    }
    decision.grantable = true;
    decision.listed |= std::binary_search(listing.begin, listing.end, number);
    if (rule.kind == Rule::Kind::kDns && decision.budget == nullptr) decision.budget = rule.budget;
    all_chosen &= rule.rare->to.has_value();
    Merge(rule.resolves, decision.filter);
    const auto& types = rule.rare->types;
    decision.types.insert(decision.types.end(), types.begin(), types.end());
    return true;
  });
  decision.chosen_target = decision.grantable && all_chosen;
  if (decision.grantable) decision.ancestor = false;
  std::sort(decision.types.begin(), decision.types.end());
  decision.types.erase(std::unique(decision.types.begin(), decision.types.end()),
                       decision.types.end());
  return decision;
}

RuleSet::RequestDecision RuleSet::DecideRequest(std::span<const uint32_t> http,
                                                std::string_view method, std::string_view path,
                                                const Headers& headers) const {
  for (const uint32_t number : http) {
    const Rule& rule = rules_[number];
    if (rule.MatchesRequest(method, path, headers)) return {&rule, rule.allows(), false};
    if (rule.rare->otherwise) return {&rule, false, true};
  }
  return {};
}

}  // namespace sallyport::policy
