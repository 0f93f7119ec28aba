#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/backend/backend.h"
#include "runtime/backend/namespaces/netlink.h"

namespace sallyport::runtime {

/// The guest's network namespace is the caller's in all of these.

/// Opens the tun node. It belongs to the network namespace in which it is opened, so this comes
/// that is made; and before the caller's id changes, as the node may be root's alone. FILE is
/// relative to FOLDER, or absolute.
Result<UniqueFd> OpenTunNode(int folder, const std::string& file);

/// Makes the opened tun node the TAP eth0, non-blocking, with a vnet header of 12 bytes, checksum
/// and TSO offload.
Status MakeTap(int tun);

/// Makes eth0 a veth link and returns a non-blocking AF_PACKET socket on its far end, which lies in
/// a network namespace that nobody else is in. Offloads are on: with PACKET_VNET_HDR a header tells
/// which checksum or cutting is left to do. That namespace ends with the socket. PROC is a procfs
/// that shows this thread.
Result<UniqueFd> MakePacketLink(int proc);

/// Switches IPv6 on, also for links that are made later. False where this kernel has none, or PROC,
/// a procfs, does not allow it.
bool EnableIpv6(int proc);

/// Gives eth0 and lo their addresses (GuestNetwork), routes and neighbours, and brings them up.
Status ConfigureGuestNetwork(bool ipv6);

/// Brings up lo alone.
Status ConfigureLoopback();

}  // namespace sallyport::runtime
