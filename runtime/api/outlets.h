#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/secret_source.h"
#include "policy/engine.h"
#include "runtime/api/sandbox.h"
#include "runtime/warden/launch.h"

// Who is asked and who is told of what a sandbox does, beside the terminal and the audit log.

namespace sallyport {

/// Puts what CONFIG says of it into LAUNCH. kInvalid for what is no program or no URL, and for
/// credentials that would go to another host unencrypted.
Status AddOutlets(const SandboxConfig& config, runtime::Launch& launch);

/// What the outlets of LAUNCH and of the policy read or run: their variables are handed on, and
/// their files are shown to no sandbox.
std::vector<SecretSource> OutletSources(const policy::Engine& engine,
                                        const runtime::Launch& launch);

}  // namespace sallyport
