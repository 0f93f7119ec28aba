#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport {

/// One thing that sandboxes need of this host.
struct HostFinding {
  enum class State { kOk, kDegraded, kMissing };
  std::string what;
  State state = State::kOk;
  std::string detail;  ///< What was found.
  std::string fix;     ///< The command or change that mends it; empty when nothing is to do.
};

struct HostReport {
  std::vector<HostFinding> findings;
  bool can_run = false;  ///< A sandbox would start.
};

/// Looks at what this host can do, by trying it where that leaves nothing behind.
HostReport ExamineHost();

}  // namespace sallyport
