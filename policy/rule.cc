#include "policy/rule.h"

#include <algorithm>

#include "policy/special_names.h"

namespace sallyport::policy {
namespace {

// Whether VALUE, or one of the members that commas part it into, is one of WANTED: what servers may take
// for the same.
bool HasMember(std::string_view value, const std::vector<std::string>& wanted) {
  const auto is_wanted = [&wanted](std::string_view text) {
    const size_t first = text.find_first_not_of(" \t");
    if (first == text.npos) text = {};
    if (!text.empty()) text = text.substr(first, text.find_last_not_of(" \t") + 1 - first);
    return std::any_of(wanted.begin(), wanted.end(), [text](const std::string& one) {
      return EqualsIgnoreCase(text, one);
    });
  };
  if (is_wanted(value)) return true;
  while (true) {
    const size_t comma = value.find(',');
    if (is_wanted(value.substr(0, comma))) return true;
    if (comma == value.npos) return false;
    value.remove_prefix(comma + 1);
  }
}

}  // namespace

void PortSet::Add(uint16_t first, uint16_t last) {
  if (near_count_ < near_.size()) {
    near_[near_count_++] = {first, last};
  } else {
    more_.push_back({first, last});
  }
}

bool PortSet::Contains(uint16_t port) const {
  return is_all() ||
         Any([port](const Range& range) { return range.first <= port && port <= range.last; });
}

bool PortSet::Covers(const PortSet& other) const {
  if (is_all()) return true;
  if (other.is_all()) return false;
  return !other.Any([this](const Range& wanted) {
    return !Any([&wanted](const Range& range) {
      return range.first <= wanted.first && wanted.last <= range.last;
    });
  });
}

bool PortSet::Intersects(const PortSet& other) const {
  if (is_all() || other.is_all()) return true;
  return Any([&other](const Range& a) {
    return other.Any(
        [&a](const Range& b) { return a.first <= b.last && b.first <= a.last; });
  });
}

std::string PortSet::ToString() const {
  if (is_all()) return "any port";
  std::string text;
  Any([&text](const Range& range) {
    if (!text.empty()) text += ", ";
    text += std::to_string(range.first);
    if (range.last != range.first) text.append("-").append(std::to_string(range.last));
    return false;
  });
  return text;
}

bool Rule::MatchesName(const HostName& name) const {
  const bool no_any = allows() && IsSpecialName(name.text());
  return std::any_of(hosts.begin(), hosts.end(), [&](const HostPattern& pattern) {
    return pattern.Matches(name) && !(no_any && pattern.is_any());
  });
}

bool Rule::MatchesAddress(const IpAddress& address) const {
  if (!ip) return false;
  if (allows()) return ip->Admits(address);
  if (ip->Has(address)) return true;
  if (address.is_v4()) return false;
  const auto embedded = EmbeddedV4(address);
  return std::any_of(embedded.begin(), embedded.end(),
                     [this](const IpAddress& inner) { return ip->Has(inner); });
}

bool Rule::MatchesHeader(const HeaderCondition& condition, const Headers& fields) const {
  bool any = false;
  bool all = true;
  for (const HeaderField& field : fields.fields()) {
    if (!EqualsIgnoreCase(field.name, condition.name)) continue;
    const bool holds = condition.values.empty() ||
                       (allows() ? std::find(condition.values.begin(), condition.values.end(),
                                             field.value) != condition.values.end()
                                 : HasMember(field.value, condition.values));
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

AskWait QuestionOf(const Rule& rule) {
  const Rule::Rare& rare = *rule.rare;
  return {.message = rare.message,
          .rule = rule.id,
          .limit = rare.wait,
          .place = rare.place,
          .show_body = rare.show_body};
}

std::string_view ToString(Rule::Kind kind) {
  switch (kind) {
    case Rule::Kind::kHttp:
      return "http";
    case Rule::Kind::kTcp:
      return "tcp";
    case Rule::Kind::kUdp:
      return "udp";
    case Rule::Kind::kIcmp:
      return "icmp";
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
