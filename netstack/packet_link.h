#pragma once

#include <memory>

#include "base/unique_fd.h"
#include "netstack/link.h"

namespace sallyport::netstack {

/// An AF_PACKET, SOCK_RAW socket bound to the far end of a guest's veth pair. Uses offload where
/// the kernel has PACKET_VNET_HDR, and whole frames with our own checksums where not.
Result<std::unique_ptr<Link>> MakePacketLink(UniqueFd socket);

}  // namespace sallyport::netstack
