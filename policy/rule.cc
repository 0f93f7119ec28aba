#include "policy/rule.h"

#include <algorithm>

namespace sallyport::policy {

bool PortSet::Contains(uint16_t port) const {
  if (is_all()) return true;
  return std::any_of(ranges_.begin(), ranges_.end(), [port](const auto& range) {
    return range.first <= port && port <= range.second;
  });
}

bool PortSet::Covers(const PortSet& other) const {
  if (is_all()) return true;
  if (other.is_all()) return false;
  return std::all_of(other.ranges_.begin(), other.ranges_.end(), [this](const auto& wanted) {
    return std::any_of(ranges_.begin(), ranges_.end(), [&wanted](const auto& range) {
      return range.first <= wanted.first && wanted.second <= range.second;
    });
  });
}

bool PortSet::Intersects(const PortSet& other) const {
  if (is_all() || other.is_all()) return true;
  return std::any_of(ranges_.begin(), ranges_.end(), [&other](const auto& a) {
    return std::any_of(other.ranges_.begin(), other.ranges_.end(),
                       [&a](const auto& b) { return a.first <= b.second && b.first <= a.second; });
  });
}

std::string PortSet::ToString() const {
  if (is_all()) return "any port";
  std::string text;
  for (const auto& [first, last] : ranges_) {
    if (!text.empty()) text += ", ";
    text += std::to_string(first);
    if (last != first) text.append("-").append(std::to_string(last));
  }
  return text;
}

bool Rule::MatchesName(const HostName& name) const {
  return std::any_of(hosts.begin(), hosts.end(),
                     [&name](const HostPattern& pattern) { return pattern.Matches(name); });
}

bool Rule::MatchesAddress(const IpAddress& address) const {
  if (!ip) return false;
  if (ip->Admits(address)) return true;
  if (allows() || address.is_v4()) return false;
  const auto embedded = EmbeddedV4(address);
  return std::any_of(embedded.begin(), embedded.end(),
                     [this](const IpAddress& inner) { return ip->Admits(inner); });
}

bool Rule::MatchesHeader(const HeaderCondition& condition, const Headers& fields) const {
  bool any = false;
  bool all = true;
  for (const HeaderField& field : fields.fields()) {
    if (!EqualsIgnoreCase(field.name, condition.name)) continue;
    const bool holds = condition.values.empty() ||
                       std::find(condition.values.begin(), condition.values.end(), field.value) !=
                           condition.values.end();
    any |= holds;
    all &= holds;
  }
  return allows() ? any && all : any;
}

bool Rule::MatchesRequest(std::string_view method, std::string_view path,
                          const Headers& fields) const {
  if (!methods.empty() && std::find(methods.begin(), methods.end(), method) == methods.end()) {
    return false;
  }
  if (!paths.empty() && std::none_of(paths.begin(), paths.end(),
                                     [path](const PathGlob& glob) { return glob.Matches(path); })) {
    return false;
  }
  return std::all_of(headers.begin(), headers.end(), [&](const HeaderCondition& condition) {
    return MatchesHeader(condition, fields);
  });
}

std::string_view ToString(Rule::Kind kind) {
  switch (kind) {
    case Rule::Kind::kHttp:
      return "http";
    case Rule::Kind::kTcp:
      return "tcp";
    case Rule::Kind::kUdp:
      return "udp";
    case Rule::Kind::kDns:
      return "dns";
  }
  return "unknown";
}

std::string_view ToString(Rule::Effect effect) {
  switch (effect) {
    case Rule::Effect::kAllow:
      return "allow";
    case Rule::Effect::kDeny:
      return "deny";
    case Rule::Effect::kAsk:
      return "ask";
  }
  return "?";
}

std::string ToString(const Authority& authority) {
  std::string text = ToString(authority.host);
  if (authority.port) text.append(":").append(std::to_string(*authority.port));
  return text;
}

}  // namespace sallyport::policy
