#include "netstack/router_advertisement.h"

#include <algorithm>
#include <array>

#include "netstack/byte_order.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

constexpr uint8_t kRouterSolicitation = 133;
constexpr uint8_t kRouterAdvertisement = 134;
constexpr size_t kSolicitationSize = 8;
constexpr size_t kAdvertisementSize = 16;

constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kManaged = 0x80;  // Addresses come by DHCPv6,
constexpr uint8_t kOther = 0x40;    // and so does the rest.

// Options; their lengths count eight bytes each.
constexpr uint8_t kSourceLinkLayer = 1;
constexpr uint8_t kPrefix = 3;
constexpr uint8_t kMtu = 5;
constexpr uint8_t kResolvers = 25;  // RFC 8106.

constexpr uint8_t kPrefixBits = 64;
constexpr uint8_t kOnLink = 0x80;
constexpr uint8_t kAutonomous = 0x40;
constexpr uint32_t kValidSeconds = 2592000;
constexpr uint32_t kPreferredSeconds = 604800;

using InterfaceId = std::array<uint8_t, 8>;

InterfaceId InterfaceIdOf(const MacAddress& mac) {
  return {static_cast<uint8_t>(mac[0] ^ 2), mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
}

// A new option of EIGHTS times eight bytes; returns where it starts.
uint8_t* AddOption(std::vector<uint8_t>& message, uint8_t type, uint8_t eights) {
  const size_t start = message.size();
  message.resize(start + size_t{8} * eights);
  message[start] = type;
  message[start + 1] = eights;
  return &message[start];
}

void AddPrefix(std::vector<uint8_t>& message, const StackOptions& options) {
  const auto guest = options.guest_v6.bytes();
  const bool own = std::ranges::equal(guest.subspan(8), InterfaceIdOf(options.guest_mac));
  uint8_t* option = AddOption(message, kPrefix, 4);
  option[2] = kPrefixBits;
  option[3] = own ? kOnLink | kAutonomous : kOnLink;
  Store32(option + 4, kValidSeconds);
  Store32(option + 8, kPreferredSeconds);
  std::copy_n(guest.begin(), kPrefixBits / 8, option + 16);
}

}  // namespace

IpAddress LinkLocalOf(const MacAddress& mac) {
  std::array<uint8_t, 16> address{0xfe, 0x80};
  std::ranges::copy(InterfaceIdOf(mac), address.begin() + 8);
  return IpAddress::V6(address);
}

bool IsRouterSolicitation(std::span<const uint8_t> message) {
  if (message.size() < kSolicitationSize || message[0] != kRouterSolicitation || message[1] != 0) {
    return false;
  }
  for (auto rest = message.subspan(kSolicitationSize); !rest.empty();) {
    const size_t size = rest.size() < 2 ? 0 : size_t{8} * rest[1];
    if (size == 0 || size > rest.size()) return false;
    rest = rest.subspan(size);
  }
  return true;
}

std::vector<uint8_t> RouterAdvertisement(const StackOptions& options) {
  std::vector<uint8_t> message(kAdvertisementSize);
  message[0] = kRouterAdvertisement;
  message[4] = kHopLimit;
  message[5] = kManaged | kOther;
  Store16(&message[6], kRouterLifetimeSeconds);
  std::ranges::copy(options.gateway_mac, AddOption(message, kSourceLinkLayer, 1) + 2);
  Store32(AddOption(message, kMtu, 1) + 4, options.mtu);
  AddPrefix(message, options);
  uint8_t* resolvers = AddOption(message, kResolvers, 3);
  Store32(resolvers + 4, kRouterLifetimeSeconds);
  std::ranges::copy(options.gateway_v6.bytes(), resolvers + 8);
  return message;
}

}  // namespace sallyport::netstack
