#include "netstack/packet.h"

#include <algorithm>

#include "netstack/byte_order.h"
#include "netstack/checksum.h"

namespace sallyport::netstack {
namespace {

constexpr uint16_t kMoreFragments = 0x2000;
constexpr uint16_t kFragmentOffset = 0x1fff;
constexpr size_t kUdpChecksum = 6;

std::variant<Packet, Drop> ParseIpv4(std::span<uint8_t> bytes) {
  if (bytes.size() < kIpv4Header || bytes[0] >> 4 != 4) return Drop::kMalformed;
  const size_t header = size_t{4} * (bytes[0] & 0x0f);
  const size_t total = Load16(&bytes[2]);
  if (header < kIpv4Header || total < header || total > bytes.size()) return Drop::kMalformed;
  if (header != kIpv4Header) return Drop::kHeaderOption;
  Checksum checksum;
  checksum.Add(bytes.first(header));
  if (checksum.Finish() != 0) return Drop::kChecksum;

  const uint16_t part = Load16(&bytes[6]);
  return Packet{.v6 = false,
                .fragment = (part & (kMoreFragments | kFragmentOffset)) != 0,
                .protocol = bytes[9],
                .hop_limit = bytes[8],
                .part = {.id = Load16(&bytes[4]),
                         .offset = size_t{8} * (part & kFragmentOffset),
                         .more = (part & kMoreFragments) != 0},
                .whole = bytes.first(total),
                .payload = bytes.subspan(header, total - header)};
}

// What IANA lists as extension headers, but for the Fragment header. Guests have no need of any.
bool IsExtensionHeader(uint8_t protocol) {
  switch (protocol) {
    case 0:    // Hop-by-hop options; multicast listener reports carry it.
    case 43:   // Routing.
    case 50:   // ESP.
    case 51:   // AH.
    case 60:   // Destination options.
    case 135:  // Mobility.
    case 139:  // HIP.
    case 140:  // Shim6.
      return true;
    default:
      return false;
  }
}

// PACKET, whose payload begins with a Fragment header (RFC 8200, section 4.5), without that.
std::variant<Packet, Drop> ParseFragmentHeader(Packet packet) {
  if (packet.payload.size() < kFragmentHeaderSize) return Drop::kMalformed;
  const std::span<const uint8_t> header = packet.payload;
  const uint16_t part = Load16(&header[2]);
  packet.fragment = true;
  packet.protocol = header[0];
  packet.part = {
      .id = Load32(&header[4]), .offset = size_t{part} & 0xfff8, .more = (part & 1) != 0};
  packet.payload = packet.payload.subspan(kFragmentHeaderSize);
  if (packet.protocol == kProtocolFragment || IsExtensionHeader(packet.protocol)) {
    return Drop::kHeaderOption;
  }
  return packet;
}

std::variant<Packet, Drop> ParseIpv6(std::span<uint8_t> bytes) {
  if (bytes.size() < kIpv6Header || bytes[0] >> 4 != 6) return Drop::kMalformed;
  const size_t payload = Load16(&bytes[4]);
  if (payload > bytes.size() - kIpv6Header) return Drop::kMalformed;
  const uint8_t protocol = bytes[6];
  if (IsExtensionHeader(protocol)) return Drop::kHeaderOption;

  const Packet packet{.v6 = true,
                      .protocol = protocol,
                      .hop_limit = bytes[7],
                      .whole = bytes.first(kIpv6Header + payload),
                      .payload = bytes.subspan(kIpv6Header, payload)};
  if (protocol == kProtocolFragment) return ParseFragmentHeader(packet);
  return packet;
}

}  // namespace

std::variant<Packet, Drop> ParseIp(EtherType type, std::span<uint8_t> bytes) {
  return type == EtherType::kIpv4 ? ParseIpv4(bytes) : ParseIpv6(bytes);
}

bool TransportChecksumRight(const Packet& packet) {
  if (packet.checksum_trusted) return true;
  if (packet.protocol == kProtocolUdp) {
    const bool none = Load16(&packet.payload[kUdpChecksum]) == 0;
    if (none) return !packet.v6;  // Only IPv4 lets a datagram go without.
  }
  Checksum checksum;
  if (packet.protocol != kProtocolIcmp) {
    checksum.AddPseudoHeader(packet.source(), packet.destination(), packet.protocol,
                             packet.payload.size());
  }
  checksum.Add(packet.payload);
  return checksum.Finish() == 0;
}

IpAddress ToIpAddress(std::span<const uint8_t> bytes) {
  return bytes.size() == 4 ? IpAddress::V4(bytes.first<4>()) : IpAddress::V6(bytes.first<16>());
}

bool IsMulticast(std::span<const uint8_t> address) {
  if (address.size() == 16) return address[0] == 0xff;
  const bool broadcast =
      std::all_of(address.begin(), address.end(), [](uint8_t b) { return b == 255; });
  return broadcast || (address[0] >= 224 && address[0] < 240);  // 240/4 is reserved, but unicast.
}

bool IsLinkLocal(std::span<const uint8_t> v6) {
  return v6[0] == 0xfe && (v6[1] & 0xc0) == 0x80;
}

bool IsUnspecified(std::span<const uint8_t> address) {
  return std::ranges::all_of(address, [](uint8_t byte) { return byte == 0; });
}

bool SameBytes(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return std::ranges::equal(a, b);
}

}  // namespace sallyport::netstack
