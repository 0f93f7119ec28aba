#pragma once

#include <string>

#include "policy/engine.h"
#include "policy/rule_set.h"

namespace sallyport::policy {

/// Everything of FLOW, which was granted, on which a connection depends that is already open: where
/// it goes, what its addresses may be, and what the rules of its requests, which are RULES', allow.
/// Two policies that say the same of it say the same here; the places of rules are left out.
std::string DescribeTerms(const FlowVerdict& flow, const RuleSet& rules);

}  // namespace sallyport::policy
