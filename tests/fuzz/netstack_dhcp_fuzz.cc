// Asks for a configuration.
//
// Input: one byte, 0 for DHCP, 1 for DHCPv6, 2 for a router solicitation, then the message.

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/check.h"
#include "netstack/dhcp.h"
#include "netstack/dhcpv6.h"
#include "netstack/router_advertisement.h"

namespace sallyport::netstack {
namespace {

// Fits the least MTU, so that no guest needs fragments to get an address.
constexpr size_t kLargestAnswer = 1280 - 48;
// What a client identifies itself by comes back, and is the client's own choice.
constexpr size_t kLargestDhcpAnswer = 240 + 255 + 64;

void Run(unsigned what, std::span<const uint8_t> message) {
  StackOptions options;
  options.guest_v4 = IpAddress::V4(10, 0, 2, 15);
  options.gateway_v4 = IpAddress::V4(10, 0, 2, 2);
  options.guest_v6 = *IpAddress::Parse("fd00:5a11::15");
  options.gateway_v6 = *IpAddress::Parse("fd00:5a11::2");
  options.guest_mac = {2, 0, 0, 0, 0, 2};
  options.gateway_mac = {2, 0, 0, 0, 0, 1};
  if (what == 0) {
    const auto answer = AnswerDhcp(message, options);
    const auto* reply = std::get_if<DhcpReply>(&answer);
    if (reply != nullptr) SALLYPORT_CHECK(reply->message.size() <= kLargestDhcpAnswer);
  } else if (what == 1) {
    const auto answer = AnswerDhcpv6(message, options);
    const auto* reply = std::get_if<std::vector<uint8_t>>(&answer);
    if (reply != nullptr) SALLYPORT_CHECK(reply->size() <= kLargestAnswer);
  } else {
    (void)IsRouterSolicitation(message);
  }
}

}  // namespace
}  // namespace sallyport::netstack

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) sallyport::netstack::Run(data[0] % 3, {data + 1, size - 1});
  return 0;
}
