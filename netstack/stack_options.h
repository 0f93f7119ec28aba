#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/ip_address.h"

namespace sallyport::netstack {

using MacAddress = std::array<uint8_t, 6>;

/// Who is on the link, and how much the guest may make the stack hold. Limits are per sandbox; what
/// is over one is refused and counted, and works again once there is room.
struct StackOptions {
  // The addresses have no useful default: Create() refuses unset ones.
  IpAddress guest_v4;
  IpAddress gateway_v4;
  IpAddress guest_v6;
  IpAddress gateway_v6;
  MacAddress guest_mac{};
  MacAddress gateway_mac{};
  unsigned mtu = 1500;  ///< Of the guest's interface; 1280 to 65,535.
  /// Answers DHCP, router solicitations and DHCPv6, for guests that nobody else configures: virtual
  /// machines. The guest gets guest_v4 in a /24, guest_v6 in a /64, the gateway as router and
  /// resolver.
  bool configure_guest = false;

  /// TCP connections, counted from the SYN. About 1 KiB each when idle: 16 MiB.
  size_t max_tcp_flows = 16384;
  /// Of these, SYNs whose verdict is awaited. Each may hold a resolver query and a socket.
  size_t max_tcp_deciding = 1024;
  /// UDP flows, refused ones that are remembered included. One descriptor each that is relayed. At
  /// the limit a new one takes the place of a refused one, or of one answered on the host, if there
  /// is such: of the one that has been silent longest.
  size_t max_udp_flows = 4096;
  /// Flows of every kind that may begin in a second, and after a pause at once: many times what a
  /// build or a load test begins, and so few that a flood of SYNs leaves the host its processor and
  /// the servers their peace.
  double new_flows_per_second = 5000;
  double new_flow_burst = 10000;

  /// Runs of pings (one destination, one identifier), likewise. One descriptor each.
  size_t max_echo_flows = 256;

  /// Bytes towards the guest that one connection may have written and unacknowledged: eight full
  /// frames, more than the link ever has under way.
  size_t send_buffer = 512 * 1024;
  /// Memory for payload of all flows in both directions. At the limit nothing more is read from
  /// the hosts, and payload of the guest's is dropped, which it sends again. Bounds the product of
  /// per-connection windows (1 MiB up, send_buffer down) and max_tcp_flows.
  size_t max_buffered_bytes = size_t{128} * 1024 * 1024;

  /// How long a verdict may take: longer than the 127 seconds for which Linux repeats a SYN.
  std::chrono::milliseconds decision_timeout = std::chrono::seconds(130);
  /// How long a connection that nobody reads any more may take to deliver the rest.
  std::chrono::milliseconds linger_timeout = std::chrono::seconds(30);
  std::chrono::milliseconds udp_idle_timeout = std::chrono::seconds(60);
  /// For flows answered on the host: one question, one answer.
  std::chrono::milliseconds udp_served_idle_timeout = std::chrono::seconds(15);
  /// For pings: longer than the pauses that clients make between two.
  std::chrono::milliseconds echo_idle_timeout = std::chrono::seconds(30);
  /// How long a refused UDP flow, or run of pings, is refused again without asking.
  std::chrono::milliseconds udp_denied_memory = std::chrono::seconds(5);

  /// Starts every connection's own sequence numbers here, for tests; random when unset.
  std::optional<uint32_t> initial_sequence;
};

}  // namespace sallyport::netstack
