#pragma once

#include <memory>

#include "base/unique_fd.h"
#include "netstack/link.h"

namespace sallyport::netstack {

/// The host's end of a TAP device. TAP is non-blocking, was opened with IFF_NO_PI and IFF_VNET_HDR,
/// has a vnet header of 12 bytes, and offers checksums and TSO for IPv4 and IPv6. Checked as far as
/// the kernel tells.
Result<std::unique_ptr<Link>> MakeTapLink(UniqueFd tap);

}  // namespace sallyport::netstack
