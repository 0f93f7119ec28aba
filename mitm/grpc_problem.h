#pragma once

#include <cstdint>

#include "base/http_message.h"
#include "base/reason.h"
#include "mitm/problem.h"
#include "secrets/store.h"

namespace sallyport::mitm {

/// Whether a request with HEADERS is a call of gRPC (or gRPC-Web), whose client looks for a status
/// of gRPC's own and shows people that.
bool IsGrpc(const Headers& headers);

/// REFUSAL of a call with HEADERS: a response that is trailers only, with `grpc-status` 14
/// (UNAVAILABLE) where the host could not be reached, else 7 (PERMISSION_DENIED), and what the
/// problem document would say as `grpc-message`. Values of secrets that a message might hold are
/// replaced by SECRETS.
LocalAnswer MakeGrpcProblem(const Headers& headers, const Refusal& refusal, uint64_t flow,
                            const secrets::Store& secrets);

}  // namespace sallyport::mitm
