#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/agent/environment.h"
#include "guest/protocol/messages.h"

namespace sallyport::guest {

/// A process on its way to become a program, with our ends of what connects us, all non-blocking.
struct Spawned {
  pid_t pid = -1;   ///< Also its session and process group.
  UniqueFd status;  ///< Ends empty when the program runs; else has a StartFailure.
  UniqueFd input;   ///< To its stdin, or its terminal.
  UniqueFd output;  ///< From its stdout, or its terminal.
  UniqueFd error;   ///< From its stderr; invalid with a terminal.
};

/// What a process that could not become the program reports, in one write to `status`.
struct StartFailure {
  enum class Step : int32_t {
    kSetUp,      ///< Session, terminal, descriptors or capabilities.
    kDirectory,  ///< The working directory.
    kExecute,    ///< The program itself.
  };
  Step step;
  int32_t error;  ///< errno.
};

/// Starts a process for EXEC. It leads a session of its own, has default signal actions, no
/// descriptor of ours but its three, and from EnterLockdown() all of the agent's restrictions.
Result<Spawned> Spawn(const Exec& exec, const Environment& environment);

/// FAILURE in the words and with the exit code of a shell: 127 not found, 126 not runnable, and 125
/// for what is not the program's fault.
ErrorMessage Describe(const StartFailure& failure, const Exec& exec);

/// Sets the size of the terminal behind FD; a size of 0 leaves it.
void ResizeTerminal(int fd, uint16_t rows, uint16_t columns);

}  // namespace sallyport::guest
