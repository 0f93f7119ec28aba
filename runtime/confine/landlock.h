#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

struct LandlockRules {
  std::vector<std::string> readable;  ///< Files and folders; nothing else can be opened.
  bool network = false;               ///< TCP stays possible.
  bool signals = false;               ///< Processes outside may still be signalled.
};

/// Restricts this process for good and returns the ABI used; 0 where the kernel has no Landlock.
/// Needs no_new_privs.
Result<int> RestrictByLandlock(const LandlockRules& rules);

/// The kernel's Landlock ABI; 0 without it.
int LandlockAbi();

}  // namespace sallyport::runtime
