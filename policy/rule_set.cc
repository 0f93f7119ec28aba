#include "policy/rule_set.h"

#include <algorithm>

#include "policy/special_names.h"

namespace sallyport::policy {
namespace {

// Whether rules of KIND speak of flows of TRANSPORT.
bool SpeaksOf(Rule::Kind kind, Transport transport) {
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

// A file with more rules than the first may have as many as the second.
constexpr size_t kManyRules = 512;
constexpr size_t kRoomForMany = 16384;

void Merge(const AddressFilter& from, AddressFilter& into) {
  into.classes = static_cast<uint16_t>(into.classes | from.classes);
  into.prefixes.insert(into.prefixes.end(), from.prefixes.begin(), from.prefixes.end());
}

}  // namespace

void RuleSet::Add(Rule&& rule) {
  const auto number = static_cast<uint32_t>(rules_.size());
  // Address space that nothing is written to costs less than moving half of the rules again and again.
  if (number == kManyRules && rules_.capacity() < kRoomForMany) rules_.reserve(kRoomForMany);
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
  rules_.push_back(std::move(rule));
}

// Takes RULE, whose host or address matches, into account. False when the flow is decided.
bool RuleSet::Consider(const Rule& rule, uint32_t number, Transport transport, uint16_t port,
                       FlowDecision& decision) const {
  if (!SpeaksOf(rule.kind, transport) || !rule.ports.Contains(port)) return true;
  if (rule.kind != Rule::Kind::kHttp) {
    // With requests granted by an earlier rule the flow is HTTP already.
    if (!decision.http_allowed) decision.rule = &rule;
    return false;
  }
  if (!rule.allows() && rule.matches_every_request() && !decision.http_allowed) {
    decision.rule = &rule;
    return false;
  }
  decision.http.push_back(number);
  decision.http_allowed |= rule.allows();
  return !rule.matches_every_request() && !rule.otherwise;
}

RuleSet::FlowDecision RuleSet::DecideFlow(Transport transport, const HostName* name,
                                          const IpAddress& address, uint16_t port) const {
  FlowDecision decision;
  if (name != nullptr) {
    const bool special = IsSpecialName(name->text());
    hosts_.ForEachMatch(name->text(), [&](uint32_t number) {
      if (special && !rules_[number].MatchesName(*name)) return true;
      return Consider(rules_[number], number, transport, port, decision);
    });
    return decision;
  }
  addresses_.ForEachMatch(address, [&](uint32_t number) {
    // The index has whole prefixes, of which an `allow` may mean less.
    if (rules_[number].allows() && !rules_[number].MatchesAddress(address)) return true;
    return Consider(rules_[number], number, transport, port, decision);
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
    all_chosen &= rule.to.has_value();
    Merge(rule.resolves, decision.filter);
    decision.types.insert(decision.types.end(), rule.types.begin(), rule.types.end());
    return true;
  });
  decision.chosen_target = decision.grantable && all_chosen;
  if (decision.grantable) decision.ancestor = false;
  std::sort(decision.types.begin(), decision.types.end());
  decision.types.erase(std::unique(decision.types.begin(), decision.types.end()),
                       decision.types.end());
  return decision;
}

RuleSet::RequestDecision RuleSet::DecideRequest(const std::vector<uint32_t>& http,
                                                std::string_view method, std::string_view path,
                                                const Headers& headers) const {
  for (const uint32_t number : http) {
    const Rule& rule = rules_[number];
    if (rule.MatchesRequest(method, path, headers)) return {&rule, rule.allows(), false};
    if (rule.otherwise) return {&rule, false, true};
  }
  return {};
}

}  // namespace sallyport::policy
