#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/ip_address.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

constexpr uint8_t kProtocolIcmp = 1;
constexpr uint8_t kProtocolTcp = 6;
constexpr uint8_t kProtocolUdp = 17;
constexpr uint8_t kProtocolFragment = 44;  // The header of IPv6's fragments.
constexpr uint8_t kProtocolIcmp6 = 58;

constexpr size_t kEthernetHeader = 14;
constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv6Header = 40;
constexpr size_t kFragmentHeaderSize = 8;

enum class EtherType : uint16_t { kIpv4 = 0x0800, kArp = 0x0806, kIpv6 = 0x86dd };

/// Which part of a larger packet a fragment is.
struct FragmentPart {
  uint32_t id = 0;
  size_t offset = 0;  ///< Of its payload in the larger one's.
  bool more = false;  ///< It is not the last.
};

/// A view of one IP packet whose lengths are known to be right. The bytes are the caller's.
struct Packet {
  bool v6 = false;
  bool fragment = false;          ///< A part of a larger packet, as `part` says.
  bool checksum_trusted = false;  ///< The transport's checksum need not, or can't yet, be verified.
  uint8_t protocol = 0;
  uint8_t hop_limit = 0;
  FragmentPart part = {};
  std::span<uint8_t> whole;    ///< Header and payload.
  std::span<uint8_t> payload;  ///< What follows the IP header, and IPv6's Fragment header.

  std::span<const uint8_t> source() const { return whole.subspan(v6 ? 8 : 12, v6 ? 16 : 4); }
  std::span<const uint8_t> destination() const { return whole.subspan(v6 ? 24 : 16, v6 ? 16 : 4); }
  size_t header_length() const { return whole.size() - payload.size(); }
};

/// Reads the IP packet at the start of BYTES, which may be followed by padding: version, lengths
/// and, for IPv4, the header's checksum are verified; options are refused, and extension headers
/// but a Fragment header that comes first.
std::variant<Packet, Drop> ParseIp(EtherType type, std::span<uint8_t> bytes);

/// Whether the checksum of the TCP, UDP or ICMP message in PACKET is right (or trusted).
bool TransportChecksumRight(const Packet& packet);

IpAddress ToIpAddress(std::span<const uint8_t> bytes);
bool IsMulticast(std::span<const uint8_t> address);
bool IsLinkLocal(std::span<const uint8_t> v6);
bool IsUnspecified(std::span<const uint8_t> address);
bool SameBytes(std::span<const uint8_t> a, std::span<const uint8_t> b);

}  // namespace sallyport::netstack
