#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/backend/namespaces/plan.h"

namespace sallyport::runtime {

/// Detached mounts, made by a launcher that is root for a sandbox whose ids are others. The
/// sandbox's first process puts them into its own root; it could not even look into most of their
/// sources.
struct ToolTree {
  std::string directory;  ///< "/usr"
  UniqueFd tree;
};

/// The host's tool directories, for the guest ids of the user namespace USERNS.
///
/// They map every id to the guest's of the same number: guest root may then change
/// its own copy of them. That makes root's private files in them readable, so only directories that
/// hold programs are mapped: never /etc, /var or /opt. Where the file system can't map ids, the
/// directory is left out, and the sandbox takes the unmapped one.
std::vector<ToolTree> MakeToolTrees(int userns);

/// One for each mount of PLAN, for the guest ids from BASE on.
///
/// A mount maps one id only: its source's owner is guest root. Nothing in it can be given to
/// another id, so no file of another host user appears. A writable mount on a file system that
/// can't map ids is kUnsupported.
Result<std::vector<UniqueFd>> MakeMountTrees(const Plan& plan, uid_t base);

/// The directories of the host's root that hold programs, where they are directories: elsewhere
/// they are links into /usr.
constexpr const char* kToolDirectories[] = {"/usr",   "/bin",   "/sbin",  "/lib",
                                            "/lib32", "/lib64", "/libx32"};

}  // namespace sallyport::runtime
