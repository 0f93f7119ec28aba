#include "policy/raw_guard.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

bool IsWebPort(uint16_t port) {
  return port == 80 || port == 443;
}

std::optional<std::string> HttpRuleOf(const RuleSet& rules, const Facts& facts) {
  std::optional<std::string> found;
  const auto look = [&](uint32_t number) {
    const Rule& rule = rules.rules()[number];
    if (rule.kind != Rule::Kind::kHttp || !rule.ports.Contains(facts.destination.port)) return true;
    found = "http rules (" + rule.id + ")";
    return false;
  };
  if (facts.name) {
    rules.hosts().ForEachMatch(facts.name->text(), look);
  } else {
    rules.addresses().ForEachMatch(facts.destination.address, look);
  }
  return found;
}

bool IsHostOf(const SecretSpec& secret, const Facts& facts) {
  const uint16_t port = facts.destination.port;
  const bool at_port =
      secret.ports.empty()
          ? IsWebPort(port)
          : std::find(secret.ports.begin(), secret.ports.end(), port) != secret.ports.end();
  return at_port && facts.name &&
         std::any_of(secret.hosts.begin(), secret.hosts.end(),
                     [&facts](const HostPattern& host) { return host.Matches(*facts.name); });
}

bool AnySpeaksOf(const std::vector<Hook>& hooks, const Facts& facts) {
  return std::any_of(hooks.begin(), hooks.end(),
                     [&facts](const Hook& hook) { return hook.SpeaksOf(facts.name); });
}

}  // namespace

std::optional<std::string> WhatSeesRequests(const Declarations& declared, const Facts& facts) {
  const uint16_t port = facts.destination.port;
  if (facts.transport == Transport::kIcmp) return std::nullopt;
  if (facts.transport == Transport::kUdp && port != 443) return std::nullopt;
  if (auto rule = HttpRuleOf(declared.rules, facts)) return rule;
  for (const SecretSpec& secret : declared.secrets) {
    if (IsHostOf(secret, facts)) return "the secret " + secret.name;
  }
  if (!IsWebPort(port)) return std::nullopt;
  if (AnySpeaksOf(declared.on_request, facts)) return "an on.request hook";
  if (AnySpeaksOf(declared.on_response, facts)) return "an on.response hook";
  return std::nullopt;
}

}  // namespace sallyport::policy
