#pragma once

#include <cstdint>
#include <span>

#include "netstack/packet.h"
#include "netstack/wire.h"

namespace sallyport::netstack {

/// Who has which address on the link, for ARP and IPv6 neighbour discovery: the gateway has all of
/// them but the guest's own. What the guest says of itself is known from the start and ignored.
class Neighbours {
 public:
  Neighbours(Wire& wire, const StackOptions& options, StackStats& stats);

  /// Takes an ARP packet.
  void InputArp(std::span<const uint8_t> packet);

  /// Whether PACKET belongs to neighbour or router discovery. No fragment does (RFC 6980).
  static bool IsDiscovery(const Packet& packet);
  /// Whether the message that begins in PACKET would.
  static bool IsDiscoveryMessage(const Packet& packet);
  /// Takes such a packet, of verified checksum.
  void InputDiscovery(const Packet& packet);

 private:
  Wire& wire_;
  const StackOptions& options_;
  StackStats& stats_;
};

}  // namespace sallyport::netstack
