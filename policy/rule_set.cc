#include "policy/rule_set.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

// A deny that leaves RULE, which stands after it, nothing to grant.
bool TakesEverything(const Rule& deny, const Rule& rule) {
  if (!deny.matches_every_request() || !deny.ports.Covers(rule.ports)) return false;
  if (deny.kind == rule.kind) return true;
  return deny.kind == Rule::Kind::kTcp && rule.kind == Rule::Kind::kHttp;
}

void Merge(const AddressFilter& from, AddressFilter& into) {
  into.classes = static_cast<uint16_t>(into.classes | from.classes);
  into.prefixes.insert(into.prefixes.end(), from.prefixes.begin(), from.prefixes.end());
}

}  // namespace

void HostIndex::Add(const HostPattern& pattern, uint32_t rule) {
  std::vector<uint32_t>& list =
      pattern.is_any() ? any_ : (pattern.is_wildcard() ? zones_ : exact_)[pattern.name()->text()];
  if (list.empty() || list.back() != rule) list.push_back(rule);
}

void HostIndex::Cursors::Add(const std::vector<uint32_t>& list) {
  if (list.empty() || count == kMaxLists) return;
  at[count] = list.data();
  end[count] = list.data() + list.size();
  ++count;
}

void HostIndex::CollectZones(std::string_view first_zone, Cursors& cursors) const {
  if (zones_.empty()) return;
  for (std::string_view zone = first_zone; !zone.empty();) {
    if (const auto found = zones_.find(zone); found != zones_.end()) cursors.Add(found->second);
    const size_t dot = zone.find('.');
    if (dot == zone.npos) return;
    zone.remove_prefix(dot + 1);
  }
}

void HostIndex::Collect(std::string_view name, Cursors& cursors) const {
  if (const auto found = exact_.find(name); found != exact_.end()) cursors.Add(found->second);
  const size_t dot = name.find('.');
  if (dot != name.npos) CollectZones(name.substr(dot + 1), cursors);
  cursors.Add(any_);
}

void HostIndex::CollectCovering(const HostPattern& pattern, Cursors& cursors) const {
  if (pattern.is_any()) return cursors.Add(any_);
  const std::string& name = pattern.name()->text();
  if (!pattern.is_wildcard()) return Collect(name, cursors);
  CollectZones(name, cursors);
  cursors.Add(any_);
}

std::optional<uint32_t> HostIndex::Next(Cursors& cursors) {
  std::optional<uint32_t> least;
  for (size_t i = 0; i < cursors.count; ++i) {
    if (cursors.at[i] == cursors.end[i]) continue;
    if (!least || *cursors.at[i] < *least) least = *cursors.at[i];
  }
  if (!least) return least;
  for (size_t i = 0; i < cursors.count; ++i) {
    if (cursors.at[i] != cursors.end[i] && *cursors.at[i] == *least) ++cursors.at[i];
  }
  return least;
}

void RuleSet::Add(Rule rule) {
  const auto number = static_cast<uint32_t>(rules_.size());
  for (const HostPattern& pattern : rule.hosts) {
    index_.Add(pattern, number);
    if (!rule.allows() || pattern.is_any()) continue;
    auto above = pattern.is_wildcard() ? pattern.name() : pattern.name()->Parent();
    for (; above; above = above->Parent()) ancestors_.insert(above->text());
  }
  if (rule.ip) by_address_.push_back(number);
  rules_.push_back(std::move(rule));
}

// Takes RULE, whose host or address matches, into account. False when the flow is decided.
bool RuleSet::Consider(const Rule& rule, uint32_t number, Transport transport, uint16_t port,
                       FlowDecision& decision) const {
  const bool applies = transport == Transport::kTcp
                           ? rule.kind == Rule::Kind::kTcp || rule.kind == Rule::Kind::kHttp
                           : transport == Transport::kUdp && rule.kind == Rule::Kind::kUdp;
  if (!applies || !rule.ports.Contains(port)) return true;
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
    index_.ForEachMatch(name->text(), [&](uint32_t number) {
      return Consider(rules_[number], number, transport, port, decision);
    });
    return decision;
  }
  for (const uint32_t number : by_address_) {
    if (!rules_[number].MatchesAddress(address)) continue;
    if (!Consider(rules_[number], number, transport, port, decision)) break;
  }
  return decision;
}

RuleSet::NameDecision RuleSet::DecideName(const HostName& name) const {
  NameDecision decision;
  decision.ancestor = ancestors_.contains(name.text());
  bool all_chosen = true;
  std::vector<const Rule*> denies;
  index_.ForEachMatch(name.text(), [&](uint32_t number) {
    const Rule& rule = rules_[number];
    if (!rule.allows()) {
      // Denying the lookup itself ends the matter, unless an earlier rule needs the name.
      if (rule.kind == Rule::Kind::kDns && !decision.grantable) {
        decision.denied_by = &rule;
        return false;
      }
      denies.push_back(&rule);
      return true;
    }
    if (std::any_of(denies.begin(), denies.end(),
                    [&rule](const Rule* deny) { return TakesEverything(*deny, rule); })) {
      return true;
    }
    decision.grantable = true;
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
