#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "policy/engine.h"
#include "runtime/broker/messages.h"

namespace sallyport::runtime {

/// The keys of client certificates, as the broker is to know them, in the order of their servers.
/// They are nobody's secrets: they have no placeholder, and no request can carry them.
std::vector<BrokerLaunch::Item> ClientKeys(const policy::UpstreamOptions& upstream);

/// What the parent proxy's URL is read from, likewise.
std::vector<BrokerLaunch::Item> ProxyItems(const policy::UpstreamOptions& upstream);

/// `upstream "HOST" { … }` as the broker is to know it, and ServerList::Make() takes it. FILES (name
/// and text) has every file that UPSTREAM names, but for the keys.
Result<std::vector<BrokerLaunch::Server>> Servers(
    const policy::UpstreamOptions& upstream,
    const std::vector<std::pair<std::string, std::string>>& files);

}  // namespace sallyport::runtime
