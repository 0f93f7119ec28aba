#pragma once

#include "base/ip_address.h"

namespace sallyport::runtime {

/// Whether ADDRESS belongs to this host itself, on whatever interface: what connects to it reaches the
/// host's own services. Asked of the kernel's routing each time, because addresses come and go; sends
/// nothing. True where it can't be asked. An IPv6 address that embeds an IPv4 one is asked about as what
/// it embeds, too.
///
/// Not seen: IPv6 prefixes that are routed to the host as a whole (`ip -6 route add local …`), and its
/// IPv6 anycast addresses.
bool IsOwnAddress(const IpAddress& address);

}  // namespace sallyport::runtime
