#include "runtime/dial/own_address.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/address_class.h"
#include "base/unique_fd.h"
#include "runtime/dial/outward.h"

// Two questions to the kernel, by a UDP socket, for which connect() only looks up a route:
//
// IPv4: can the socket be bound to the address, and then be connected to it? The first alone is no proof
// (net.ipv4.ip_nonlocal_bind), but a route from an address that is not the host's own is refused. The
// source that the kernel would choose is no proof either: for a second address of an interface it is the
// first one.
//
// IPv6: is the address the source that the kernel chooses towards it? By rule 1 of RFC 6724, section 5,
// it is where it is the host's own, and can't be elsewhere.

namespace sallyport::runtime {
namespace {

constexpr uint16_t kAnyPort = 9;  // Discard; nothing is sent.

bool CanBind(int socket, const IpAddress& address) {
  sockaddr_storage own;
  const socklen_t length = Endpoint{address, 0}.ToSockaddr(own);
  return bind(socket, reinterpret_cast<const sockaddr*>(&own), length) == 0;
}

bool CanConnect(int socket, const IpAddress& address) {
  sockaddr_storage peer;
  const socklen_t length = Endpoint{address, kAnyPort}.ToSockaddr(peer);
  return ConnectOutward(socket, reinterpret_cast<const sockaddr*>(&peer), length) == 0;
}

bool IsSourceTowardsItself(int socket, const IpAddress& address) {
  if (!CanConnect(socket, address)) return false;
  sockaddr_storage source;
  socklen_t length = sizeof source;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&source), &length) != 0) return true;
  const auto endpoint = Endpoint::FromSockaddr(source);
  return !endpoint || endpoint->address == address;
}

bool IsOwn(const IpAddress& address) {
  // A group's, to which any socket can be bound.
  if (Classify(address) == AddressClass::kMulticast) return false;
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  const UniqueFd fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // A host without the family has no address of it.
  if (!fd.valid()) return errno != EAFNOSUPPORT;
  if (!address.is_v4()) return IsSourceTowardsItself(fd.get(), address);
  return CanBind(fd.get(), address) && CanConnect(fd.get(), address);
}

}  // namespace

bool IsOwnAddress(const IpAddress& address) {
  const auto embedded = EmbeddedV4(address);
  return IsOwn(address) || std::any_of(embedded.begin(), embedded.end(), IsOwn);
}

}  // namespace sallyport::runtime
