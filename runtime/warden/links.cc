#include "runtime/warden/links.h"

#include <fcntl.h>

#include <algorithm>

#include "netstack/capture_link.h"
#include "netstack/packet_link.h"
#include "netstack/tap_link.h"

namespace sallyport::runtime {

namespace {

netstack::StackOptions Options() {
  netstack::StackOptions options;
  options.guest_v4 = *IpAddress::Parse(GuestNetwork::kGuestV4);
  options.gateway_v4 = *IpAddress::Parse(GuestNetwork::kGatewayV4);
  options.guest_v6 = *IpAddress::Parse(GuestNetwork::kGuestV6);
  options.gateway_v6 = *IpAddress::Parse(GuestNetwork::kGatewayV6);
  std::copy_n(GuestNetwork::kGuestMac, 6, options.guest_mac.begin());
  std::copy_n(GuestNetwork::kGatewayMac, 6, options.gateway_mac.begin());
  options.mtu = GuestNetwork::kMtu;
  return options;
}

}  // namespace

Result<std::unique_ptr<netstack::Stack>> OpenStack(Loop& loop, const Workload& workload,
                                                   netstack::FlowDecider& decider,
                                                   netstack::Capture* capture) {
  UniqueFd copy(fcntl(workload.link.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return tl::unexpected(Error::FromErrno("dup"));
  auto link = workload.link_kind == LinkKind::kTap ? netstack::MakeTapLink(std::move(copy))
                                                   : netstack::MakePacketLink(std::move(copy));
  if (!link) return tl::unexpected(std::move(link).error());
  if (capture != nullptr) {
    link = std::unique_ptr<netstack::Link>(new netstack::CaptureLink(*std::move(link), *capture));
  }
  return netstack::Stack::Create(loop, *std::move(link), decider, Options());
}

}  // namespace sallyport::runtime
