#include "netstack/neighbours.h"

#include <algorithm>
#include <array>

#include "netstack/byte_order.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kArpSize = 28;
constexpr uint8_t kArpPrefix[] = {0, 1, 8, 0, 6, 4};  // Ethernet, IPv4, and their address sizes.
constexpr uint16_t kArpRequest = 1;
constexpr uint8_t kArpReply = 2;

constexpr uint8_t kRouterSolicitation = 133;
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;
constexpr uint8_t kRedirect = 137;
constexpr size_t kSolicitationSize = 24;
constexpr uint8_t kOnLinkHopLimit = 255;  // No router can have forwarded it.
constexpr uint8_t kRouterSolicitedOverride = 0xe0;

}  // namespace

Neighbours::Neighbours(Wire& wire, const StackOptions& options, StackStats& stats)
    : wire_(wire), options_(options), stats_(stats) {}

void Neighbours::InputArp(std::span<const uint8_t> packet) {
  if (packet.size() < kArpSize || !std::ranges::equal(packet.first(6), kArpPrefix)) {
    return stats_.Count(Drop::kMalformed);
  }
  const auto sender_mac = packet.subspan(8, 6);
  const auto sender = packet.subspan(14, 4);
  const auto target = packet.subspan(24, 4);
  const auto guest = options_.guest_v4.bytes();
  if (!SameBytes(sender_mac, options_.guest_mac) ||
      !(SameBytes(sender, guest) || IsUnspecified(sender))) {
    return stats_.Count(Drop::kSpoofed);
  }
  // A question about its own address is the guest making sure that nobody else has it.
  if (Load16(&packet[6]) != kArpRequest || SameBytes(target, guest)) return;

  std::array<uint8_t, kArpSize> reply{};
  std::ranges::copy(kArpPrefix, reply.begin());
  reply[7] = kArpReply;
  std::ranges::copy(options_.gateway_mac, reply.begin() + 8);
  std::ranges::copy(target, reply.begin() + 14);
  std::ranges::copy(sender_mac, reply.begin() + 18);
  std::ranges::copy(sender, reply.begin() + 24);
  wire_.SendArp(reply);
}

bool Neighbours::IsDiscovery(const Packet& packet) {
  return !packet.fragment && IsDiscoveryMessage(packet);
}

bool Neighbours::IsDiscoveryMessage(const Packet& packet) {
  return packet.v6 && packet.protocol == kProtocolIcmp6 && !packet.payload.empty() &&
         packet.payload[0] >= kRouterSolicitation && packet.payload[0] <= kRedirect;
}

void Neighbours::InputDiscovery(const Packet& packet) {
  const std::span<const uint8_t> message = packet.payload;
  if (message[0] != kNeighbourSolicitation) return stats_.Count(Drop::kNotForUs);
  if (message.size() < kSolicitationSize || packet.hop_limit != kOnLinkHopLimit) {
    return stats_.Count(Drop::kMalformed);
  }
  const auto target = message.subspan(8, 16);
  // Without a source it is duplicate address detection: nobody else has the guest's addresses.
  if (IsUnspecified(packet.source()) || SameBytes(target, options_.guest_v6.bytes())) return;
  if (IsMulticast(target)) return stats_.Count(Drop::kMalformed);

  // Flags, target, and the option "target link-layer address".
  std::array<uint8_t, 32> reply{kNeighbourAdvertisement, 0, 0, 0, kRouterSolicitedOverride};
  std::ranges::copy(target, reply.begin() + 8);
  reply[24] = 2;
  reply[25] = 1;
  std::ranges::copy(options_.gateway_mac, reply.begin() + 26);
  wire_.SendTransport(target, packet.source(), kProtocolIcmp6, reply, 2, {}, kOnLinkHopLimit);
}

}  // namespace sallyport::netstack
