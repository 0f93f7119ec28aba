#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

/// What a warden is born with (runtime/warden/launch.h).
struct WardenDescriptors {
  UniqueFd launch;
  UniqueFd audit;
  UniqueFd values;
};

struct SpawnedWarden {
  UniqueFd control;
  pid_t pid = -1;
};

/// Starts PATH as a warden: a session of its own, no environment, no descriptor but those it is given
/// and stderr; it ties its life to this process by itself.
Result<SpawnedWarden> SpawnWarden(const std::string& path, WardenDescriptors descriptors);

/// Waits until the warden PID, whose control socket was closed, has ended; at most LIMIT.
void WaitForWarden(pid_t pid, std::chrono::milliseconds limit);

}  // namespace sallyport
