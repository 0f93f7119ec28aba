#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "runtime/backend/backend.h"

namespace sallyport::runtime::testing {

/// Waits for a frame on the link of WORKLOAD that WANTED accepts; without the vnet header. Empty
/// when none came in time.
std::string AwaitFrame(Workload& workload, const std::function<bool(std::string_view)>& wanted);

/// Sends a frame to the guest.
bool SendFrame(Workload& workload, std::string_view frame);

/// An ICMP echo request from the gateway to the guest.
std::string EchoRequest();
bool IsEchoReply(std::string_view frame);

/// The same over IPv6.
std::string EchoRequestV6();
bool IsEchoReplyV6(std::string_view frame);

/// A UDP datagram over IPv4 to PORT, addressed to the gateway's hardware address.
bool IsUdpTo(std::string_view frame, uint16_t port);

/// An ARP request for an address of the guest's network.
bool IsArpRequest(std::string_view frame);

}  // namespace sallyport::runtime::testing
