#pragma once

#include <cstdint>
#include <span>

#include "base/loop.h"
#include "netstack/packet.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"
#include "netstack/wire.h"

namespace sallyport::netstack {

/// Tells a guest that configures itself what its network is: DHCP, router discovery and DHCPv6,
/// where StackOptions::configure_guest says so. It tells nobody else: frames are the guest's alone.
class SelfConfiguration {
 public:
  SelfConfiguration(Loop& loop, Wire& wire, const StackOptions& options, StackStats& stats)
      : loop_(loop), wire_(wire), options_(options), stats_(stats) {}

  /// Whether PACKET, which may come from an address that the guest does not have yet, asks for its
  /// configuration. Nothing else of it was looked at.
  bool Takes(const Packet& packet) const;
  /// Takes such a packet, of right lengths and verified checksum.
  void Input(const Packet& packet);

 private:
  void InputDhcp(std::span<const uint8_t> message);
  void InputDhcpv6(const Packet& packet, std::span<const uint8_t> message);
  void InputSolicitation(const Packet& packet);
  void Advertise();

  Loop& loop_;
  Wire& wire_;
  const StackOptions& options_;
  StackStats& stats_;
  Loop::Handle next_advertisement_;  // Once the guest has asked.
};

}  // namespace sallyport::netstack
