#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport {

/// Whether one program in a sandbox trusts the gate.
struct TrustFinding {
  enum class Answer { kYes, kNo, kUntried };
  std::string name;
  Answer with = Answer::kUntried;     ///< With the variables that every program in a sandbox has.
  Answer without = Answer::kUntried;  ///< With an empty environment, by the files alone.
  std::string by;                     ///< What makes it trust the gate.
  std::string fix;                    ///< What to do where it does not; empty where it does.
  std::string said;  ///< The last line of one that does not: the sandbox's word, shortened.
};

struct TrustReport {
  std::vector<TrustFinding> findings;
  bool trusted = false;  ///< No program that was tried fails with the variables.
};

/// Starts a sandbox with the mounts of POLICY_FILE and tries each program that it finds, against a
/// name that nothing grants: no connection leaves the host, and no secret of the policy is read.
/// Takes as long as the programs do, at most five minutes.
Result<TrustReport> ExamineTrust(const std::optional<std::string>& policy_file);

/// The findings in OUTPUT, what TrustScript() printed: from inside, so lines of another form are
/// passed over. kInvalid if it did not come to its end.
Result<TrustReport> ReadTrustOutput(const std::string& output);

}  // namespace sallyport
