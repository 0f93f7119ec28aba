#include "runtime/warden/flow_answers.h"

#include <utility>

#include "policy/explain.h"

namespace sallyport::runtime {

Refusal Refuse(Reason reason, std::string detail, std::string how_to_allow) {
  Refusal refusal;
  refusal.reason = reason;
  refusal.detail = std::move(detail);
  refusal.how_to_allow = std::move(how_to_allow);
  return refusal;
}

Refusal NameRefused(const policy::Facts& facts, const policy::NameVerdict& verdict) {
  Refusal refusal = verdict.refusal;
  if (refusal.reason == Reason::kNameNotGranted) refusal.how_to_allow = policy::SuggestRule(facts);
  return refusal;
}

Refusal AuditUnavailable() {
  return Refuse(Reason::kAuditUnavailable, "the audit log can't be written");
}

Refusal SharedByNames(const policy::Facts& facts, const std::vector<HostName>& names) {
  constexpr size_t kMostNamed = 4;
  std::string list;
  for (size_t i = 0; i < names.size() && i < kMostNamed; ++i) {
    list += (i == 0 ? "" : ", ") + names[i].text();
  }
  if (names.size() > kMostNamed) list += ", …";
  return Refuse(Reason::kUnknownAddress,
                facts.destination.address.ToString() + " is an address of " + list +
                    ", and only HTTP and TLS tell which of them is meant",
                "dns { answers = \"synthetic\" }, which gives each name an address of its own");
}

std::optional<Refusal> JudgeChain(policy::Engine& engine, const HostName& name, uint16_t type,
                                  const std::vector<HostName>& chain, policy::NameVerdict& verdict) {
  if (!verdict.by_callback || chain.empty()) return std::nullopt;
  verdict = engine.DecideQuery(name, {.type = type, .chain = chain});
  if (verdict.grantable) return std::nullopt;
  const std::string& target = chain.back().text();
  if (verdict.refusal.reason == Reason::kNameNotGranted) {
    return Refuse(Reason::kDeniedByHook,
                  name.text() + " is an alias, and the policy does not grant it as one of " + target);
  }
  Refusal refusal = verdict.refusal;
  refusal.detail += "; " + name.text() + " is an alias of " + target;
  return refusal;
}

Reason ReasonOf(Code code) {
  switch (code) {
    case Code::kAddressRefused:
      return Reason::kAddressRefused;
    case Code::kNotFound:
      return Reason::kNameNotFound;
    case Code::kRefused:
      return Reason::kUpstreamRefused;
    case Code::kTimeout:
      return Reason::kUpstreamTimeout;
    case Code::kProxyRefused:
      return Reason::kProxyRefused;
    case Code::kProxyTimeout:
      return Reason::kProxyTimeout;
    case Code::kLimit:
      return Reason::kLimit;
    default:
      return Reason::kUpstreamUnreachable;
  }
}

Destination DialTarget(const policy::Facts& facts, const policy::FlowVerdict& verdict) {
  Destination target{.host = facts.destination.address,
                     .port = facts.destination.port,
                     .filter = verdict.filter()};
  if (facts.name) target.host = *facts.name;
  if (const auto& to = verdict.to()) {
    target.host = to->host;
    target.port = to->port.value_or(facts.destination.port);
    target.chosen_by_user = true;
  }
  return target;
}

}  // namespace sallyport::runtime
