#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"

namespace sallyport {

/// The `nameserver` lines of the host, as resolv.conf(5) has them; none where there is no such
/// file.
std::vector<Endpoint> HostResolvers();

/// What is remarkable about RESOLVERS: one that stands in a range for made-up addresses, as
/// programs do that redirect a host's traffic. Names get such addresses from it, which the gate
/// refuses.
std::optional<std::string> FakeResolver(const std::vector<Endpoint>& resolvers);

}  // namespace sallyport
