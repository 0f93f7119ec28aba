#include "netstack/icmp.h"

#include <algorithm>
#include <array>

namespace sallyport::netstack {
namespace {

// Linux itself sends a thousand a second (icmp_msgs_per_sec), to all peers together.
constexpr double kErrorsPerSecond = 1000;
constexpr double kErrorBurst = 100;

constexpr uint8_t kEchoReply = 0;
constexpr uint8_t kDestinationUnreachable = 3;
constexpr uint8_t kEchoRequest = 8;
constexpr uint8_t kDestinationUnreachable6 = 1;
constexpr uint8_t kEchoRequest6 = 128;
constexpr uint8_t kEchoReply6 = 129;

constexpr size_t kHeader = 8;
constexpr size_t kChecksumOffset = 2;
// What an error quotes: for IPv4 what RFC 792 asks for, for IPv6 as much as fits the least MTU.
constexpr size_t kQuoted4 = kIpv4Header + 8;
constexpr size_t kQuoted6 = 1280 - kIpv6Header - kHeader;

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

void Icmp::Input(const Packet& packet) {
  if (packet.payload.size() < kHeader) return stats_.Count(Drop::kMalformed);
  const bool echo = packet.payload[0] == (packet.v6 ? kEchoRequest6 : kEchoRequest);
  // Errors and replies of the guest's concern nothing that we ever sent.
  if (!echo) return stats_.Count(Drop::kNotForUs);
  const IpAddress& gateway = packet.v6 ? options_.gateway_v6 : options_.gateway_v4;
  if (SameBytes(packet.destination(), gateway.bytes())) return Echo(packet);
  Send(Unreachable::kProhibited, packet.whole, packet.v6);
}

void Icmp::Echo(const Packet& packet) {
  std::array<uint8_t, kHeader> header;
  std::ranges::copy(packet.payload.first<kHeader>(), header.begin());
  header[0] = packet.v6 ? kEchoReply6 : kEchoReply;
  wire_.SendTransport(packet.destination(), packet.source(), packet.protocol, header,
                      kChecksumOffset, packet.payload.subspan(kHeader));
}

bool Icmp::Send(Unreachable reason, std::span<const uint8_t> packet, bool v6) {
  if (!errors_.Allow(loop_.now())) {
    stats_.Count(Drop::kRateLimited);
    return false;
  }
  if (v6) {
    SendV6(reason, packet);
  } else {
    SendV4(reason, packet);
  }
  return true;
}

void Icmp::SendV4(Unreachable reason, std::span<const uint8_t> packet) {
  std::array<uint8_t, kHeader> header{kDestinationUnreachable, Code4(reason)};
  wire_.SendTransport(options_.gateway_v4.bytes(), packet.subspan(12, 4), kProtocolIcmp, header,
                      kChecksumOffset, packet.first(std::min(packet.size(), kQuoted4)));
}

void Icmp::SendV6(Unreachable reason, std::span<const uint8_t> packet) {
  std::array<uint8_t, kHeader> header{kDestinationUnreachable6, Code6(reason)};
  wire_.SendTransport(options_.gateway_v6.bytes(), packet.subspan(8, 16), kProtocolIcmp6, header,
                      kChecksumOffset, packet.first(std::min(packet.size(), kQuoted6)));
}

}  // namespace sallyport::netstack
