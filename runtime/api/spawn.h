#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

struct SpawnedWarden {
  UniqueFd control;
  pid_t pid = -1;
};

/// Starts PATH as a warden: a session of its own, no environment, no descriptor but its end of the
/// control socket and stderr; it ties its life to this process by itself, and waits for its launch
/// message (runtime/warden/launch.h). Closing the socket before that ends it.
Result<SpawnedWarden> SpawnWarden(const std::string& path);

/// Waits until the warden PID, whose control socket was closed, has ended; at most LIMIT.
void WaitForWarden(pid_t pid, std::chrono::milliseconds limit);

}  // namespace sallyport
