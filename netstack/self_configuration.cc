#include "netstack/self_configuration.h"

#include <array>
#include <chrono>
#include <variant>
#include <vector>

#include "netstack/byte_order.h"
#include "netstack/dhcp.h"
#include "netstack/dhcpv6.h"
#include "netstack/router_advertisement.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kUdpHeader = 8;
constexpr size_t kUdpChecksum = 6;
constexpr size_t kIcmpHeader = 4;
constexpr size_t kIcmpChecksum = 2;
constexpr uint8_t kRouterSolicitation = 133;
constexpr uint8_t kOnLinkHopLimit = 255;  // No router can have forwarded it.

constexpr std::array<uint8_t, 4> kEverybody{255, 255, 255, 255};
constexpr std::array<uint8_t, 16> kAllNodes{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
// All_DHCP_Relay_Agents_and_Servers, ff02::1:2.
constexpr std::array<uint8_t, 16> kServers{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2};

bool IsUdp(const Packet& packet, uint16_t source, uint16_t destination) {
  return packet.protocol == kProtocolUdp && packet.payload.size() >= kUdpHeader &&
         Load16(&packet.payload[0]) == source && Load16(&packet.payload[2]) == destination;
}

std::array<uint8_t, kUdpHeader> UdpHeader(uint16_t source, uint16_t destination, size_t size) {
  std::array<uint8_t, kUdpHeader> header{};
  Store16(&header[0], source);
  Store16(&header[2], destination);
  Store16(&header[4], kUdpHeader + size);
  return header;
}

}  // namespace

bool SelfConfiguration::Takes(const Packet& packet) const {
  if (!options_.configure_guest || packet.fragment) return false;
  const auto source = packet.source();
  const auto destination = packet.destination();
  if (!packet.v6) {
    const bool guest = SameBytes(source, options_.guest_v4.bytes()) || IsUnspecified(source);
    const bool us =
        SameBytes(destination, options_.gateway_v4.bytes()) || SameBytes(destination, kEverybody);
    return guest && us && IsUdp(packet, kDhcpClientPort, kDhcpServerPort);
  }
  if (packet.protocol == kProtocolIcmp6) {
    const bool guest = IsLinkLocal(source) || IsUnspecified(source) ||
                       SameBytes(source, options_.guest_v6.bytes());
    return guest && !packet.payload.empty() && packet.payload[0] == kRouterSolicitation;
  }
  return IsLinkLocal(source) && SameBytes(destination, kServers) &&
         IsUdp(packet, kDhcpv6ClientPort, kDhcpv6ServerPort);
}

void SelfConfiguration::Input(const Packet& packet) {
  if (packet.protocol == kProtocolIcmp6) return InputSolicitation(packet);
  const auto message = packet.payload.subspan(kUdpHeader);
  return packet.v6 ? InputDhcpv6(packet, message) : InputDhcp(message);
}

void SelfConfiguration::InputDhcp(std::span<const uint8_t> message) {
  const auto answer = AnswerDhcp(message, options_);
  if (const auto* drop = std::get_if<Drop>(&answer)) return stats_.Count(*drop);
  const auto* reply = std::get_if<DhcpReply>(&answer);
  if (reply == nullptr) return;
  auto header = UdpHeader(kDhcpServerPort, kDhcpClientPort, reply->message.size());
  wire_.SendTransport(options_.gateway_v4.bytes(), reply->destination.bytes(), kProtocolUdp, header,
                      kUdpChecksum, reply->message);
}

void SelfConfiguration::InputDhcpv6(const Packet& packet, std::span<const uint8_t> message) {
  const auto answer = AnswerDhcpv6(message, options_);
  if (const auto* drop = std::get_if<Drop>(&answer)) return stats_.Count(*drop);
  const auto* reply = std::get_if<std::vector<uint8_t>>(&answer);
  if (reply == nullptr) return;
  const IpAddress gateway = LinkLocalOf(options_.gateway_mac);
  auto header = UdpHeader(kDhcpv6ServerPort, kDhcpv6ClientPort, reply->size());
  wire_.SendTransport(gateway.bytes(), packet.source(), kProtocolUdp, header, kUdpChecksum, *reply);
}

void SelfConfiguration::InputSolicitation(const Packet& packet) {
  if (packet.hop_limit != kOnLinkHopLimit || !IsRouterSolicitation(packet.payload)) {
    return stats_.Count(Drop::kMalformed);
  }
  Advertise();
}

// To all nodes: a guest that has no address yet takes it too.
void SelfConfiguration::Advertise() {
  const IpAddress gateway = LinkLocalOf(options_.gateway_mac);
  std::vector<uint8_t> message = RouterAdvertisement(options_);
  const auto all = std::span(message);
  wire_.SendTransport(gateway.bytes(), kAllNodes, kProtocolIcmp6, all.first<kIcmpHeader>(),
                      kIcmpChecksum, all.subspan(kIcmpHeader), kOnLinkHopLimit);
  next_advertisement_ =
      loop_.After(std::chrono::seconds(kAdvertisementSeconds), [this] { Advertise(); });
}

}  // namespace sallyport::netstack
