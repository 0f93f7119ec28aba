#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sallyport {

/// A flow of a sandbox, as it is now. Texts may come from the guest or the policy.
struct SandboxFlow {
  std::string sandbox;
  uint64_t id = 0;          ///< As in the audit log.
  std::string direction;    ///< "out"; "in": through a published port.
  std::string transport;    ///< "tcp", "udp".
  std::string name;         ///< The destination's, may be empty; of "in" the client's address.
  std::string destination;  ///< "192.0.2.1:443"; of "in" "port 80".
  std::string rule;         ///< What granted it; empty while that is being decided.
  std::string state;        ///< "deciding", "dialling", "open", "closing".
  uint64_t bytes_up = 0;    ///< Payload from the guest.
  uint64_t bytes_down = 0;  ///< To the guest.
  uint64_t age_ms = 0;

  /// One JSON object, without a newline (docs/flows.md).
  std::string ToJson() const;
};

/// Those of SANDBOX (an id, or its beginning), or of all of this user's for an empty one, in the
/// order of their ids. kNotFound when there is no such sandbox.
Result<std::vector<SandboxFlow>> OpenFlows(std::string_view sandbox);

}  // namespace sallyport
