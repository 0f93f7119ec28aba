#pragma once

#include "policy/diagnostics.h"
#include "policy/rule_set.h"

namespace sallyport::policy {

/// Finds rules that earlier ones leave nothing to decide, wholly or for one of the hosts, addresses,
/// ports, methods or paths that they name: an error where a `deny` (or an `otherwise`) would be
/// meant to take from what an `allow` before it has granted already, and a warning otherwise.
///
/// A `deny` behind an `allow` that grants part of what it speaks of, and nothing else, is no
/// mistake: that is an exception with the rule it is from.
///
/// Not found: path patterns, or names, that only several rules cover together. Of addresses that only
/// several rules cover together, an IPv4 prefix is found that they leave nothing of; no part of what
/// the rule says of one (a port), no group, and IPv6 prefixes only where each of these rules decides all
/// the rest by a prefix of its own. With thousands of rules about one host not all are
/// looked at, which a warning says.
void FindHiddenRules(const RuleSet& rules, Diagnostics& diagnostics);

}  // namespace sallyport::policy
