#include "runtime/dial/outward.h"

#include <netinet/tcp.h>

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

}  // namespace

int ConnectOutward(int socket, const sockaddr* address, socklen_t length) {
  return connect(socket, address, length);
}

Result<UniqueFd> StartConnect(const Endpoint& peer, Transport transport) {
  const int family = peer.address.is_v4() ? AF_INET : AF_INET6;
  const int type = transport == Transport::kUdp ? SOCK_DGRAM : SOCK_STREAM;
  UniqueFd fd(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ConnectFailure(peer, errno);
  if (type == SOCK_STREAM) {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  sockaddr_storage address;
  const socklen_t length = peer.ToSockaddr(address);
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
