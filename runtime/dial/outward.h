#pragma once

#include <sys/socket.h>

#include "base/dialer.h"
#include "base/ip_address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// The one place in the warden where a socket is pointed at the outside: everything that leaves does
/// so through here, after its address was checked. Returns what connect(2) returns, with errno.
int ConnectOutward(int socket, const sockaddr* address, socklen_t length);

/// A non-blocking socket on its way to PEER (already checked): connected, or for TCP connecting (watch
/// it for EPOLLOUT and ask ConnectResult). For ICMP it is a ping socket, and PEER's port means nothing.
/// kRefused, kUnreachable or kSystem when it failed at once; kUnsupported where this host does not let
/// this process ping, and then the message says what to change.
Result<UniqueFd> StartConnect(const Endpoint& peer, Transport transport);

/// Whether a connecting socket, now writable, made it.
Status ConnectResult(int socket, const Endpoint& peer);

}  // namespace sallyport::runtime
