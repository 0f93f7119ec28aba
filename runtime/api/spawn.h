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

/// Starts PATH as a warden: a session of its own, no environment, no descriptor but stderr, its end
/// of the control socket, and those of the sandbox that it has begun before it became that program
/// (namespace_backend.h). It dies with the calling thread, and waits for its launch message
/// (runtime/warden/launch.h); closing the socket before that ends it. That PATH can't be executed
/// is said on the socket. The sandbox's first process is a copy of this one until it becomes the
/// agent: whoever calls this holds no secret yet but in the environment, which the copy wipes.
Result<SpawnedWarden> SpawnWarden(const std::string& path);

/// Waits until the warden PID, whose control socket was closed, has ended; at most LIMIT.
void WaitForWarden(pid_t pid, std::chrono::milliseconds limit);

}  // namespace sallyport
