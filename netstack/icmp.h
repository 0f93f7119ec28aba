#pragma once

#include <cstdint>
#include <span>

#include "base/loop.h"
#include "netstack/packet.h"
#include "netstack/rate_limit.h"
#include "netstack/wire.h"

namespace sallyport::netstack {

/// Why a packet goes nowhere, as ICMP tells it.
enum class Unreachable { kProhibited, kPort, kHost };

/// ICMP and ICMPv6: answers pings of the gateway, and tells the guest what can't be reached.
class Icmp {
 public:
  Icmp(Loop& loop, Wire& wire, const StackOptions& options, StackStats& stats);

  /// Takes an ICMP or ICMPv6 message that is not about neighbours, of verified checksum. False for
  /// an echo request to anybody but the gateway, which is a flow's.
  bool Input(const Packet& packet);

  /// Tells the guest that PACKET (an IP header and at least the first 8 bytes after it) was not
  /// delivered. False, and nothing sent, beyond a rate at which no honest guest needs answers.
  bool Send(Unreachable reason, std::span<const uint8_t> packet, bool v6);
  /// The same for one that is too large for a link of MTU bytes on its way; at the same rate.
  bool SendTooBig(uint32_t mtu, std::span<const uint8_t> packet, bool v6);

 private:
  void Echo(const Packet& packet);
  bool MayTell();
  void SendV4(uint8_t code, uint16_t mtu, std::span<const uint8_t> packet);
  void SendV6(uint8_t type, uint8_t code, uint32_t mtu, std::span<const uint8_t> packet);

  Loop& loop_;
  Wire& wire_;
  const StackOptions& options_;
  StackStats& stats_;
  RateLimit errors_;
};

}  // namespace sallyport::netstack
