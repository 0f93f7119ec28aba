#pragma once

#include <optional>

#include "policy/engine.h"
#include "policy/load.h"
#include "policy/rule_set.h"

namespace sallyport::policy {

// Learning (Engine::Uncovered::kLearnt): what no rule and no callback decides is granted, and
// marked as learnt, so that rules can be made of it (learnt_rules.h). What is closed for safety
// stays closed: flows without a name, addresses that are not public, whatever a rule, a callback or
// the user refuses, and HTTP/3, whose requests nobody would see.

/// Grants the flow with FACTS, of which DECISION says that no rule decides it; nothing where it may
/// not be learnt. HTTP is intercepted: on ports 80 and 443, and wherever rules, secrets or
/// callbacks of SCRIPT speak of requests to the host.
std::optional<FlowVerdict> LearnFlow(const LoadedScript& script, RuleSet::FlowDecision& decision,
                                     const Facts& facts);

/// Whether requests that no rule covers may be learnt on a flow with FACTS that rules grant to
/// addresses of FILTER: not where they send it elsewhere than to public addresses of its name.
bool MayLearnRequests(const LoadedScript& script, const Facts& facts, const AddressFilter& filter,
                      bool goes_elsewhere);

/// What a learnt request is granted by.
const Rule& LearnRule();

}  // namespace sallyport::policy
