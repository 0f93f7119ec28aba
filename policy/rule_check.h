#pragma once

#include <vector>

#include "base/secret_spec.h"
#include "policy/diagnostics.h"
#include "policy/rule_set.h"

namespace sallyport::policy {

/// Finds the mistakes that only show in all rules together: a `deny` (or an `otherwise`) hidden by
/// an earlier, wider `allow` is an error, any other rule that can never apply a warning; raw TCP or
/// UDP over a host whose requests are to be seen (http rules, SECRETS, hosts of on.request hooks)
/// is an error.
void CheckRules(const RuleSet& rules, const std::vector<SecretSpec>& secrets,
                const std::vector<HostPattern>& hooked_hosts, Diagnostics& diagnostics);

}  // namespace sallyport::policy
