#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/ip_address.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

constexpr uint16_t kDhcpServerPort = 67;
constexpr uint16_t kDhcpClientPort = 68;

struct DhcpReply {
  std::vector<uint8_t> message;
  IpAddress destination;  ///< The guest's address, or 255.255.255.255.
};

/// What a DHCP server (RFC 2131) says to MESSAGE, a UDP payload of the guest's: the address that is
/// the guest's anyhow, in a /24, with the gateway as router and resolver, and the MTU. One guest,
/// one address, so there is nothing to remember: an offer is a promise, and no lease ever ends
/// here. Nothing for messages that want no answer (RELEASE, DECLINE, a choice of another server); a
/// Drop for those that break their format, are not of the guest's card, or came through a relay.
/// Does no I/O.
std::variant<std::monostate, DhcpReply, Drop> AnswerDhcp(std::span<const uint8_t> message,
                                                         const StackOptions& options);

}  // namespace sallyport::netstack
