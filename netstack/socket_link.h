#pragma once

#include <memory>

#include "base/unique_fd.h"
#include "netstack/link.h"

namespace sallyport::netstack {

/// A connected AF_UNIX socket whose other end is a virtual machine's network card:
///
/// - SOCK_DGRAM or SOCK_SEQPACKET, one frame a message: QEMU's `-netdev dgram,local.type=fd`;
/// - SOCK_STREAM, each frame behind its length (frame_stream.h): `-netdev stream,addr.type=fd`.
///
/// Frames carry no offload: checksums are always verified, and what goes out is complete and fits
/// the MTU, which may be up to 65,535. The socket becomes
/// non-blocking. Frames that it does not take at once wait for it, up to a bound; beyond it they
/// are lost, as on every link.
Result<std::unique_ptr<Link>> MakeSocketLink(UniqueFd socket);

}  // namespace sallyport::netstack
