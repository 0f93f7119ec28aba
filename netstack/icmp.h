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
/// Echo is answered by nobody but the gateway: its payload would be a tunnel.
class Icmp {
 public:
  Icmp(Loop& loop, Wire& wire, const StackOptions& options, StackStats& stats);

  /// Takes an ICMP or ICMPv6 message that is not about neighbours, of verified checksum.
  void Input(const Packet& packet);

  /// Tells the guest that PACKET (an IP header and at least the first 8 bytes after it) was not
  /// delivered. False, and nothing sent, beyond a rate at which no honest guest needs answers.
  bool Send(Unreachable reason, std::span<const uint8_t> packet, bool v6);

 private:
  void Echo(const Packet& packet);
  void SendV4(Unreachable reason, std::span<const uint8_t> packet);
  void SendV6(Unreachable reason, std::span<const uint8_t> packet);

  Loop& loop_;
  Wire& wire_;
  const StackOptions& options_;
  StackStats& stats_;
  RateLimit errors_;
};

}  // namespace sallyport::netstack
