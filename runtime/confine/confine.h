#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

/// What a process of ours takes away from itself, in named stages that anyone can audit.
struct ConfineOptions {
  enum class Role {
    kWarden,  ///< Sockets and descriptors it holds; opens and executes nothing.
    kBroker,        ///< Reads the files in `readable`; no network.
    kOnlineBroker,  ///< Has IP sockets for what it asks servers; opens nothing.
  };
  Role role = Role::kWarden;
  /// Files (or folders) that stay readable; resolved before. A file that is replaced by another one
  /// of its name is lost; a folder sees its new content. Started as root, the unprivileged id must
  /// be allowed to read them.
  std::vector<std::string> readable;
  /// Open files allowed at once (RLIMIT_NOFILE); never raised above the hard limit.
  unsigned max_files = 16384;
  /// Started as root: the unprivileged id to take. A warden gives Workload::uid: only that id may
  /// signal the workload, and only thereby does the workload die with it (the kernel checks the
  /// right to send the parent-death signal like any other). 0: a random one of those kept for us.
  uid_t uid = 0;
};

/// What Confine() did, for `--verbose`, doctor and tests.
struct Confinement {
  bool user_changed = false;  ///< Runs under an unprivileged id of its own (started as root).
  bool namespaces =
      false;  ///< Own mount namespace with an empty root (and user namespace, if not root).
  int landlock_abi = 0;  ///< 0: not available.
  bool seccomp = false;  ///< False only in builds with a sanitizer, which needs more calls.
};

/// Confines the calling process for good. Everything it needs must be open; it must have one
/// thread. Stages: no core, rlimits; own mount namespace with an empty read-only root, for which a
/// plain user needs an own user namespace (ids map to themselves, so SO_PEERCRED of the same user
/// still reads right); (as root) an unprivileged uid/gid, no groups; no capabilities; no new
/// privileges; not dumpable; Landlock; seccomp allow-list, which kills on a violation. A stage that
/// must work and doesn't is an error; a kernel without Landlock or a host that forbids user
/// namespaces is noted in the result. A parent-death signal set before stays set.
Result<Confinement> Confine(const ConfineOptions& options);

/// The ids that Confine takes as root when none is given; runtime/backend keeps off them.
constexpr uid_t kFirstConfinedId = 0x7ffd0000;
constexpr uid_t kConfinedIds = 0x10000;

}  // namespace sallyport::runtime
