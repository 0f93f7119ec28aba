#pragma once

#include <sys/types.h>

#include "base/unique_fd.h"
#include "runtime/backend/namespaces/namespace_backend.h"

namespace sallyport::runtime {

/// What the sandbox's first process gets from the launcher.
struct JailInput {
  const NamespaceOptions& options;
  bool root = false;  ///< The launcher is root: ids come as a range, mounts as descriptors.
  uid_t outer_uid = 0;
  gid_t outer_gid = 0;
  UniqueFd control;  ///< To the launcher (conversation.h).
  UniqueFd agent_socket;
};

/// Runs in the new namespaces, all but the network's, which it makes itself, in a process of its
/// own; becomes the agent or ends.
[[noreturn]] void EnterJail(JailInput input);

}  // namespace sallyport::runtime
