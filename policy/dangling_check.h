#pragma once

#include "policy/declarations.h"
#include "policy/diagnostics.h"

namespace sallyport::policy {

/// Warns of what LOADER's file declares and nothing can use: a secret that no rule lets out, a host
/// of a secret or of an `upstream` block that no rule reaches. Of a file with callbacks nothing is
/// said: they may grant any host, and use secrets in requests of their own.
void CheckDangling(Loader& loader);

}  // namespace sallyport::policy
