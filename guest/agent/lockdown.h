#pragma once

#include "base/result.h"

namespace sallyport::guest {

/// What the agent takes away from itself, in two stages. All of it passes on to the programs that
/// it starts, so starting one needs no privileged step.

/// At once: no dumps and no access through /proc for programs of the same user, no new privileges,
/// no core files, all signals blocked with their default actions, standard descriptors that are
/// open, and no others but HOST_FD, which no program inherits.
Status PrepareProcess(int host_fd);

/// Before the first byte of the image is used: capabilities cut down to what a program may have, of
/// which the agent itself leaves only CAP_KILL switched on, and the guest's system call filter.
/// The bounding set must end up without the others, whatever it was.
Status EnterLockdown();

/// In a started program's process: all the capabilities that it may have, switched on.
Status EnableProgramCapabilities();

}  // namespace sallyport::guest
