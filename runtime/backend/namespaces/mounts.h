#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/backend/namespaces/plan.h"
#include "runtime/backend/namespaces/root_fs.h"

namespace sallyport::runtime {

/// Puts the plan's mounts into the root, each without set-user-id programs and devices. TREES has
/// one detached mount for each where the launcher made them; empty for a plain user, whose own they
/// are.
///
/// Every target is looked up inside the new root, link by link, so that a hostile link in an
/// earlier mount leads nowhere else. What is masked is covered by something empty. In a writable
/// mount what the host runs later (host_runs.h) is read-only; no folder that leads to it, or to
/// what is masked, can be renamed or removed. Each such folder is a mount of its own: renaming a
/// file from it to another one is EXDEV. What does not exist can't be protected: the kernel mounts
/// on names that exist only.
Status AddMounts(const RootFs& root, const Plan& plan, std::vector<UniqueFd> trees);

/// Covers what is masked in the host's directories that the root shows.
Status HideMasked(const RootFs& root, const Plan& plan);

}  // namespace sallyport::runtime
