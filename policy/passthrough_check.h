#pragma once

#include "policy/declarations.h"
#include "policy/diagnostics.h"

namespace sallyport::policy {

/// Reports whatever of DECLARED depends on seeing requests of a host that a rule passes through
/// (tls = "passthrough"), and would silently have no effect on them: other http rules, secrets and
/// on.request hooks are errors; a hook for every host is a warning.
void CheckPassthrough(const Declarations& declared, Diagnostics& diagnostics);

}  // namespace sallyport::policy
