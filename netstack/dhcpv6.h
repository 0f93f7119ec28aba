#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

constexpr uint16_t kDhcpv6ServerPort = 547;
constexpr uint16_t kDhcpv6ClientPort = 546;

/// What a DHCPv6 server (RFC 8415) says to MESSAGE, a UDP payload of the guest's: the address that
/// is the guest's anyhow, for the first IA_NA, and the gateway as resolver. No temporary addresses,
/// no prefixes. One guest, one address, so there is nothing to remember. Nothing for messages that
/// are another server's; a Drop for those that break their format or come from a relay. Does no
/// I/O.
std::variant<std::monostate, std::vector<uint8_t>, Drop> AnswerDhcpv6(
    std::span<const uint8_t> message, const StackOptions& options);

}  // namespace sallyport::netstack
