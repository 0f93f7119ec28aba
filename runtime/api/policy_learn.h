#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/api/replaced_file.h"

namespace sallyport {

/// What rules are to be made of.
struct LearnPlan {
  /// Which lines of the logs count.
  enum class Take {
    kAllowed,  ///< All that was allowed.
    kLearnt,   ///< Only what a sandbox that learns marked as learnt.
  };
  std::vector<std::string> audits;  ///< Audit logs; older files of each (FILE.1, …) are read, too.
  std::string sandbox;              ///< Only lines of this one: an id, or its beginning.
  Take take = Take::kAllowed;
  std::optional<std::string> over;  ///< A policy: what it allows already needs no rule.
};

/// Rules that were made of audit logs.
struct LearntPolicy {
  std::string text;      ///< A policy file.
  size_t decisions = 0;  ///< Different ones that it stands for.
  std::vector<std::string>
      notes;  ///< What a user should know: lines that can't be read, and the like.
};

/// The smallest readable policy that allows what PLAN's logs say was done. Held before it is
/// returned: it loads without an error, and allows each of the decisions. kInvalid where POLICY has
/// a mistake; kNotFound for a log that is not there.
Result<LearntPolicy> LearnPolicy(const LearnPlan& plan);

/// The file for learnt rules at PATH. One that is there already must have been learnt: what
/// somebody wrote by hand is not replaced (kInvalid).
Result<ReplacedFile> OpenLearntFile(const std::string& path);

}  // namespace sallyport
