#pragma once

#include "base/result.h"
#include "runtime/backend/namespaces/root_fs.h"

namespace sallyport::runtime {

/// /proc of the sandbox's own processes, still as the kernel makes it.
Status MountProc();

/// Takes away from the mounted /proc what tells of the kernel or changes it.
Status ProtectProc();

/// A /dev with the six harmless devices, its own terminals and shared memory.
Status AddDev(const RootFs& root);

/// A read-only /sys; with a network namespace of our own it shows our interfaces only.
Status AddSys();

}  // namespace sallyport::runtime
