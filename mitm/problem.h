#pragma once

#include <cstdint>
#include <string>

#include "base/http_message.h"
#include "base/reason.h"
#include "secrets/store.h"

namespace sallyport::mitm {

/// An answer that is made here.
struct LocalAnswer {
  ResponseHead head;
  std::string body;
};

/// REFUSAL as the guest reads it: application/problem+json (RFC 9457) with the members `type`
/// (urn:sallyport: and the reason's code), `title`, `status`, `detail`, `rule`, `flow` and
/// `how_to_allow`. Values of secrets that a message might hold are replaced by SECRETS.
LocalAnswer MakeProblem(const Refusal& refusal, uint64_t flow, const secrets::Store& secrets);

/// The reason phrase of STATUS.
std::string ReasonPhrase(int status);

}  // namespace sallyport::mitm
