#include "runtime/dial/outward.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sallyport::runtime {

namespace {

tl::unexpected<Error> ConnectFailure(const Endpoint& peer, int error) {
  const std::string message = peer.ToString() + ": " + std::strerror(error);
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
      return Fail(Code::kRefused, message);
    case ETIMEDOUT:
      return Fail(Code::kTimeout, message);
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
    case EAFNOSUPPORT:
      return Fail(Code::kUnreachable, message);
    default:
      return Fail(Code::kSystem, message);
  }
}

int TypeOf(Transport transport) {
  return transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM;
}

int ProtocolOf(Transport transport, int family) {
  if (transport != Transport::kIcmp) return 0;
  return family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
}

/// Why there is no socket for PEER. To groups outside of net.ipv4.ping_group_range, which is for both
/// families, the kernel gives no ping socket.
tl::unexpected<Error> SocketFailure(const Endpoint& peer, Transport transport, int error) {
  if (transport != Transport::kIcmp || error != EACCES) return ConnectFailure(peer, error);
  return Fail(Code::kUnsupported, "this host does not let the gate ping, which runs as group " +
                                      std::to_string(getegid()) +
                                      "; sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"");
}

}  // namespace

int ConnectOutward(int socket, const sockaddr* address, socklen_t length) {
  return connect(socket, address, length);
}

Result<UniqueFd> StartConnect(const Endpoint& peer, Transport transport) {
  const int family = peer.address.is_v4() ? AF_INET : AF_INET6;
  const int type = TypeOf(transport);
  UniqueFd fd(
      socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, ProtocolOf(transport, family)));
  if (!fd.valid()) return SocketFailure(peer, transport, errno);
  if (type == SOCK_STREAM) {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  sockaddr_storage address;
  // A socket that is connected to port 0 is not connected to getpeername(); pings ignore the port.
  const uint16_t port = transport == Transport::kIcmp ? uint16_t{1} : peer.port;
  const socklen_t length = Endpoint{peer.address, port}.ToSockaddr(address);
  if (ConnectOutward(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 &&
      errno != EINPROGRESS) {
    return ConnectFailure(peer, errno);
  }
  return fd;
}

Status ConnectResult(int socket, const Endpoint& peer) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error != 0) return ConnectFailure(peer, error);
  return {};
}

}  // namespace sallyport::runtime
