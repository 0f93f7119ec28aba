#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport {

/// What tests of a policy, or a comparison of decisions, came to.
struct PolicyTestReport {
  std::string text;      ///< For a person: a line for each test, what failed, a summary.
  std::string mistakes;  ///< What is wrong with files; then not all was tried.
  size_t failed = 0;
};

/// Runs the test files FILES (policy/test_file.h); with POLICY, against that policy whatever they
/// say. With AUDIT, an audit log, POLICY must also decide every request, flow and name of it as it
/// was decided then.
struct PolicyTestPlan {
  std::vector<std::string> files;
  std::optional<std::string> policy;
  std::optional<std::string> audit;
};
PolicyTestReport TestPolicy(const PolicyTestPlan& plan);

/// What OLD_POLICY and NEW_POLICY decide differently of what the audit log AUDIT has: `failed`
/// counts those.
PolicyTestReport DiffPolicies(const std::string& old_policy, const std::string& new_policy,
                              const std::string& audit);

}  // namespace sallyport
