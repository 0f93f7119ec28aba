#pragma once

#include <memory>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "runtime/dial/resolver.h"

namespace sallyport::runtime {

/// A Resolver over c-ares: it sends our queries to SERVERS, with retries, fail-over and TCP where an
/// answer was truncated; what comes back is read by our own codec. Opens no file. With no server every
/// question fails with kUnreachable.
Result<std::unique_ptr<Resolver>> NewAresResolver(Loop& loop, const std::vector<Endpoint>& servers);

}  // namespace sallyport::runtime
