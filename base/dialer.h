#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "base/address_class.h"
#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/pending.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

enum class Transport { kTcp, kUdp, kIcmp };
std::string_view ToString(Transport transport);

/// Where something is to be connected to, and what the address it ends at may be.
struct Destination {
  Host host;       ///< A name is resolved by the dialler; a literal address is used as it is.
  uint16_t port = 0;
  AddressFilter filter;
  /// The user wrote this target into the policy (`to`): any address is meant, loopback included.
  bool chosen_by_user = false;
};

/// A connected, non-blocking socket; for ICMP a ping socket (SOCK_DGRAM, IPPROTO_ICMP or -V6).
struct Dialed {
  UniqueFd socket;
  Endpoint peer;  ///< The other end of the socket: the host's own proxy, where one is used.
};

/// The one way to the outside. Names are resolved on the host, each address is classified, only
/// those that the filter admits are tried, in order, and what was checked is what is connected to.
class Dialer {
 public:
  virtual ~Dialer() = default;

  /// Connects to DESTINATION. Errors: kAddressRefused (every address is of a refused class; the
  /// message names them), kNotFound (no such name), kRefused, kUnreachable, kTimeout; where the host's
  /// own proxy is used, kProxyRefused and kProxyTimeout; kUnsupported: no ping sockets here.
  virtual Pending Dial(const Destination& destination, Transport transport,
                       std::function<void(Result<Dialed>)> done) = 0;
};

}  // namespace sallyport
