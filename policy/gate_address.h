#pragma once

#include <optional>

#include "base/reason.h"
#include "policy/engine.h"

namespace sallyport::policy {

/// What a guest reaches the gate itself by: DNS at port 53, the proxy at port 3128.
inline constexpr const char* kGateV4 = "10.0.2.2";
inline constexpr const char* kGateV6 = "fd00:5a11::2";

/// Whether ADDRESS is one of them, an IPv4-mapped one included.
bool IsGate(const IpAddress& address);

/// Why no rule can grant a flow with FACTS, to the address as the guest asks for it: it would be the host
/// itself (loopback, or no address at all), or the gate, by which no rule means it.
std::optional<Refusal> RefuseByAddress(const Facts& facts);

}  // namespace sallyport::policy
