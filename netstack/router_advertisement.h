#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ip_address.h"
#include "netstack/stack_options.h"

namespace sallyport::netstack {

/// How long a guest uses the gateway after an advertisement, and how often it gets one: the
/// defaults of RFC 4861, section 6.2.1.
constexpr uint16_t kRouterLifetimeSeconds = 1800;
constexpr uint16_t kAdvertisementSeconds = 600;

/// The link-local address that a card makes of MAC (RFC 4291, appendix A).
IpAddress LinkLocalOf(const MacAddress& mac);

/// Whether MESSAGE, an ICMPv6 one, is a router solicitation whose options have right lengths.
bool IsRouterSolicitation(std::span<const uint8_t> message);

/// What the gateway tells of the link, an ICMPv6 message whose checksum is not filled in: itself as
/// router and resolver, the MTU, the prefix (a /64) as being on the link, and that addresses come
/// by DHCPv6. The guest may also make its address of the prefix and its MAC when that gives
/// OPTIONS.guest_v6; any other address would be dropped as a spoofed one.
std::vector<uint8_t> RouterAdvertisement(const StackOptions& options);

}  // namespace sallyport::netstack
