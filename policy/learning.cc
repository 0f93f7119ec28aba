#include "policy/learning.h"

#include <algorithm>

#include "policy/http_grant.h"

namespace sallyport::policy {
namespace {

constexpr uint16_t kQuicPort = 443;

bool IsWebPort(uint16_t port) {
  return port == 80 || port == 443;
}

bool HasSecretFor(const LoadedScript& script, const Facts& facts) {
  const auto& secrets = script.declared.secrets;
  return std::any_of(secrets.begin(), secrets.end(), [&facts](const SecretSpec& secret) {
    const bool port = std::find(secret.ports.begin(), secret.ports.end(), facts.destination.port) !=
                      secret.ports.end();
    return port &&
           std::any_of(secret.hosts.begin(), secret.hosts.end(),
                       [&facts](const HostPattern& host) { return host.Matches(*facts.name); });
  });
}

}  // namespace

std::optional<FlowVerdict> LearnFlow(const LoadedScript& script, RuleSet::FlowDecision& decision,
                                     const Facts& facts) {
  if (!script.learns || decision.rule != nullptr || !facts.name) return std::nullopt;
  if (facts.transport == Transport::kIcmp) return std::nullopt;
  const uint16_t port = facts.destination.port;
  if (facts.transport == Transport::kUdp && port == kQuicPort) return std::nullopt;
  FlowVerdict verdict;  // Its filter admits public addresses only.
  verdict.action = FlowVerdict::Action::kRaw;
  verdict.has_name = true;
  verdict.by = {std::shared_ptr<void>(), &LearnRule()};
  verdict.learnt = true;
  if (facts.transport != Transport::kTcp) return verdict;
  if (!IsWebPort(port) && decision.http.empty() && !HasSecretFor(script, facts)) return verdict;
  verdict.action = FlowVerdict::Action::kHttp;
  verdict.http = std::make_shared<HttpGrant>(script.state);
  verdict.http->by = verdict.by;
  verdict.http->rules = std::move(decision.http);  // Each refuses something.
  verdict.http->learns = true;
  return verdict;
}

bool MayLearnRequests(const LoadedScript& script, const Facts& facts, const AddressFilter& filter,
                      bool goes_elsewhere) {
  constexpr auto kPublic = static_cast<uint16_t>(AddressClass::kPublic);
  return script.learns && facts.name && !goes_elsewhere && filter.prefixes.empty() &&
         (filter.classes & ~kPublic) == 0;
}

const Rule& LearnRule() {
  static const Rule rule = [] {
    Rule learns;
    learns.kind = Rule::Kind::kHttp;
    learns.effect = Rule::Effect::kAllow;
    learns.id = kLearnRule;
    return learns;
  }();
  return rule;
}

}  // namespace sallyport::policy
