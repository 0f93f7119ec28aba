#pragma once

#include <memory>

#include "policy/engine.h"
#include "policy/load.h"

namespace sallyport::policy {

/// Whether SCRIPT has a use for NAME: its rules first, then the on.connect functions, which see
/// QUERY (Engine::DecideQuery).
NameVerdict DecideNameBy(const std::shared_ptr<LoadedScript>& script, const HostName& name,
                         const NameQuery& query);

}  // namespace sallyport::policy
