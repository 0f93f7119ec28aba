#pragma once

#include "base/result.h"

namespace sallyport::runtime {

/// Leaves this process, and whatever it executes as root, with what a root that installs packages
/// needs in its own user namespace: what container runtimes give, less device nodes, raw sockets
/// and audit records. No mounting, no tracing, no network settings.
Status KeepGuestCapabilities();

}  // namespace sallyport::runtime
