#pragma once

#include <optional>

#include "base/http_message.h"
#include "base/reason.h"

namespace sallyport::secrets {

/// Why a request with HEADERS can't have its body changed on its way: a signature that covers the
/// body (AWS, HTTP message signatures, webhooks), or a digest that the server demands. Nothing when
/// it can, once DropBodyDigests() was called.
std::optional<Refusal> BodyIntegrityConflict(const Headers& headers);

/// Takes away the fields that only say what the body was before it changed: Content-MD5, Digest
/// (RFC 3230), Content-Digest and Repr-Digest (RFC 9530), and stores' checksums. A server that gets
/// none does not compare. Answers and trailers carry the same ones.
void DropBodyDigests(Headers& headers);

}  // namespace sallyport::secrets
