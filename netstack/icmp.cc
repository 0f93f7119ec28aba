#include "netstack/icmp.h"

#include <algorithm>
#include <array>

#include "netstack/byte_order.h"

namespace sallyport::netstack {
namespace {

// Linux itself sends a thousand a second (icmp_msgs_per_sec), to all peers together.
constexpr double kErrorsPerSecond = 1000;
constexpr double kErrorBurst = 100;

constexpr uint8_t kEchoReply = 0;
constexpr uint8_t kDestinationUnreachable = 3;
constexpr uint8_t kEchoRequest = 8;
constexpr uint8_t kFragmentationNeeded = 4;  // A code of kDestinationUnreachable; RFC 1191.
constexpr uint8_t kDestinationUnreachable6 = 1;
constexpr uint8_t kPacketTooBig6 = 2;
constexpr uint8_t kEchoRequest6 = 128;
constexpr uint8_t kEchoReply6 = 129;

constexpr size_t kHeader = 8;
constexpr size_t kChecksumOffset = 2;
// What an error quotes: for IPv4 what RFC 792 asks for, for IPv6 as much as fits the least MTU.
constexpr size_t kQuoted4 = kIpv4Header + 8;
constexpr uint32_t kLeastMtu6 = 1280;
constexpr size_t kQuoted6 = kLeastMtu6 - kIpv6Header - kHeader;

uint8_t Code4(Unreachable reason) {
  switch (reason) {
    case Unreachable::kHost:
      return 1;
    case Unreachable::kPort:
      return 3;
    case Unreachable::kProhibited:
      break;
  }
  return 13;  // Communication administratively prohibited.
}

uint8_t Code6(Unreachable reason) {
  switch (reason) {
    case Unreachable::kHost:
      return 3;
    case Unreachable::kPort:
      return 4;
    case Unreachable::kProhibited:
      break;
  }
  return 1;  // Administratively prohibited.
}

}  // namespace

Icmp::Icmp(Loop& loop, Wire& wire, const StackOptions& options, StackStats& stats)
    : loop_(loop),
      wire_(wire),
      options_(options),
      stats_(stats),
      errors_(kErrorsPerSecond, kErrorBurst) {}

bool Icmp::Input(const Packet& packet) {
  const bool whole = packet.payload.size() >= kHeader;
  const bool echo = whole && packet.payload[0] == (packet.v6 ? kEchoRequest6 : kEchoRequest);
  if (!echo) {
    // Errors and replies of the guest's concern nothing that we ever sent.
    stats_.Count(whole ? Drop::kNotForUs : Drop::kMalformed);
    return true;
  }
  const IpAddress& gateway = packet.v6 ? options_.gateway_v6 : options_.gateway_v4;
  if (!SameBytes(packet.destination(), gateway.bytes())) return false;
  Echo(packet);
  return true;
}

void Icmp::Echo(const Packet& packet) {
  std::array<uint8_t, kHeader> header;
  std::ranges::copy(packet.payload.first<kHeader>(), header.begin());
  header[0] = packet.v6 ? kEchoReply6 : kEchoReply;
  wire_.SendTransport(packet.destination(), packet.source(), packet.protocol, header,
                      kChecksumOffset, packet.payload.subspan(kHeader));
}

bool Icmp::MayTell() {
  if (errors_.Allow(loop_.now())) return true;
  stats_.Count(Drop::kRateLimited);
  return false;
}

bool Icmp::Send(Unreachable reason, std::span<const uint8_t> packet, bool v6) {
  if (!MayTell()) return false;
  if (v6) {
    SendV6(kDestinationUnreachable6, Code6(reason), 0, packet);
  } else {
    SendV4(Code4(reason), 0, packet);
  }
  return true;
}

bool Icmp::SendTooBig(uint32_t mtu, std::span<const uint8_t> packet, bool v6) {
  if (!MayTell()) return false;
  if (v6) {
    SendV6(kPacketTooBig6, 0, std::max<uint32_t>(mtu, kLeastMtu6), packet);
  } else {
    SendV4(kFragmentationNeeded, static_cast<uint16_t>(std::min<uint32_t>(mtu, 0xffff)), packet);
  }
  return true;
}

void Icmp::SendV4(uint8_t code, uint16_t mtu, std::span<const uint8_t> packet) {
  std::array<uint8_t, kHeader> header{kDestinationUnreachable, code};
  Store16(&header[6], mtu);
  wire_.SendTransport(options_.gateway_v4.bytes(), packet.subspan(12, 4), kProtocolIcmp, header,
                      kChecksumOffset, packet.first(std::min(packet.size(), kQuoted4)));
}

void Icmp::SendV6(uint8_t type, uint8_t code, uint32_t mtu, std::span<const uint8_t> packet) {
  std::array<uint8_t, kHeader> header{type, code};
  Store32(&header[4], mtu);
  wire_.SendTransport(options_.gateway_v6.bytes(), packet.subspan(8, 16), kProtocolIcmp6, header,
                      kChecksumOffset, packet.first(std::min(packet.size(), kQuoted6)));
}

}  // namespace sallyport::netstack
