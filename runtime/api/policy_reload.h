#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sallyport {

struct ReloadReport {
  std::string text;                   ///< "generation 2 of the policy is in force; …".
  std::vector<std::string> warnings;  ///< Of the file, and of what can't change.
};

/// Gives SANDBOX (an id or the beginning of one) the policy FILE, by default the one that it runs
/// on as that file is now. Files and variables are read here, with the user's own rights. An error,
/// with all mistakes of the file, means that nothing changed.
Result<ReloadReport> ReloadPolicy(std::string_view sandbox, const std::optional<std::string>& file);

}  // namespace sallyport
