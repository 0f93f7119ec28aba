#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

/// Puts this process into namespaces of its own (mount, IPC, UTS, cgroup; and user, unless it is
/// root) whose root holds READABLE at its own paths, read-only, and nothing else. False where the
/// host forbids it: nothing has changed then. An error leaves the process half confined: end it.
Result<bool> EnterEmptyRoot(const std::vector<std::string>& readable);

}  // namespace sallyport::runtime
