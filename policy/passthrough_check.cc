#include "policy/passthrough_check.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

using Patterns = std::vector<HostPattern>;

// The narrower of the first two patterns that some host may match both of.
const HostPattern* FirstOverlap(const Patterns& a, const Patterns& b) {
  for (const HostPattern& x : a) {
    for (const HostPattern& y : b) {
      if (x.Covers(y)) return &y;
      if (y.Covers(x)) return &x;
    }
  }
  return nullptr;
}

// The first of NARROW that lies wholly within WIDE.
const HostPattern* FirstCovered(const Patterns& wide, const Patterns& narrow) {
  for (const HostPattern& pattern : narrow) {
    if (std::any_of(wide.begin(), wide.end(),
                    [&pattern](const HostPattern& other) { return other.Covers(pattern); })) {
      return &pattern;
    }
  }
  return nullptr;
}

std::string NotSeen(const HostPattern& host) {
  return "the gate does not see the requests of '" + host.ToString() +
         "', which is passed through (tls = \"passthrough\"";
}

// A rule before PASSED that speaks of some requests of its hosts: for the others the flow would
// have to be passed through, and for these be seen.
void CheckEarlier(const Rule& passed, const Rule& earlier, Diagnostics& diagnostics) {
  // These decide all of their flows, so that `passed` is not reached.
  if (earlier.matches_every_request() || earlier.rare->otherwise) return;
  const HostPattern* host = FirstOverlap(passed.hosts, earlier.hosts);
  if (host == nullptr) return;
  diagnostics.Error(passed.line, NotSeen(*host) + "), so the rule " + earlier.id +
                                     " about some of them can't be kept; leave one of the two out");
}

// A rule behind PASSED whose hosts PASSED takes.
void CheckLater(const Rule& passed, const Rule& later, Diagnostics& diagnostics) {
  const bool plain = later.allows() && later.matches_every_request();
  const bool reported = passed.ports.Covers(later.ports) && (!later.allows() || later.rare->otherwise);
  if (plain || reported) return;  // As hidden by an earlier rule (rule_check.h).
  const HostPattern* host = FirstCovered(passed.hosts, later.hosts);
  if (host == nullptr) return;
  diagnostics.Error(later.line,
                    NotSeen(*host) + ", " + passed.id + "), so this rule about them can't be kept");
}

void CheckSecrets(const Rule& passed, const std::vector<SecretSpec>& secrets,
                  Diagnostics& diagnostics) {
  for (const SecretSpec& secret : secrets) {
    PortSet ports;
    for (const uint16_t port : secret.ports) ports.Add(port, port);
    if (!passed.ports.Intersects(ports)) continue;
    const HostPattern* host = FirstOverlap(passed.hosts, secret.hosts);
    if (host == nullptr) continue;
    diagnostics.Error(passed.line, NotSeen(*host) + "), so the secret " + secret.name + " (" +
                                       secret.declared_at + ") can never be put into them");
  }
}

void CheckHooks(const Rule& passed, const std::vector<Hook>& hooks, Diagnostics& diagnostics) {
  for (const Hook& hook : hooks) {
    if (!hook.host || hook.host->is_any()) {
      diagnostics.Warning(passed.line, "the on.request hook " + hook.id +
                                           " is not called for hosts that are passed through");
      continue;
    }
    if (FirstOverlap(passed.hosts, {*hook.host}) == nullptr) continue;
    diagnostics.Error(passed.line,
                      "the gate does not see the requests of hosts that are passed "
                      "through, so the on.request hook " +
                          hook.id + " for '" + hook.host->ToString() +
                          "' can't be called for them");
  }
}

void CheckServers(const Rule& passed, const std::vector<UpstreamOptions::Server>& servers,
                  Diagnostics& diagnostics) {
  for (const UpstreamOptions::Server& server : servers) {
    if (FirstCovered(passed.hosts, {server.host}) == nullptr) continue;
    diagnostics.Error(passed.line, "the TLS of '" + server.host.ToString() +
                                       "' is the client's own with tls = \"passthrough\", so the "
                                       "upstream block " +
                                       server.declared_at + " has no effect on it");
  }
}

}  // namespace

void CheckPassthrough(const Declarations& declared, Diagnostics& diagnostics) {
  const std::vector<Rule>& rules = declared.rules.rules();
  for (size_t i = 0; i < rules.size(); ++i) {
    const Rule& passed = rules[i];
    if (passed.tls != Rule::Tls::kPassthrough) continue;
    for (size_t j = 0; j < rules.size(); ++j) {
      const Rule& other = rules[j];
      if (other.kind != Rule::Kind::kHttp || !passed.ports.Intersects(other.ports)) continue;
      if (j < i) CheckEarlier(passed, other, diagnostics);
      if (j > i) CheckLater(passed, other, diagnostics);
    }
    CheckSecrets(passed, declared.secrets, diagnostics);
    CheckHooks(passed, declared.on_request, diagnostics);
    CheckHooks(passed, declared.on_response, diagnostics);
    CheckServers(passed, declared.upstream.servers, diagnostics);
  }
}

}  // namespace sallyport::policy
