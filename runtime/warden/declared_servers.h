#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "mitm/interceptor.h"
#include "policy/engine.h"
#include "runtime/broker/messages.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

/// The keys of client certificates, as the broker is to know them, in the order of their servers.
/// They are nobody's secrets: they have no placeholder, and no request can carry them.
std::vector<BrokerLaunch::Item> ClientKeys(const policy::UpstreamOptions& upstream);

/// What the parent proxy's URL is read from, likewise.
std::vector<BrokerLaunch::Item> ProxyItems(const policy::UpstreamOptions& upstream);

/// `upstream "HOST" { … }` as the interceptor takes it. The keys go with this.
struct DeclaredServers {
  /// FILES (name and text) has every file that UPSTREAM names, but for the keys: KEYS stand in the
  /// order of ClientKeys().
  static Result<DeclaredServers> Make(const policy::UpstreamOptions& upstream,
                                      const std::vector<std::pair<std::string, std::string>>& files,
                                      std::vector<secrets::Secret> keys);

  std::vector<mitm::DeclaredServer> list;
  std::vector<secrets::Secret> keys;  ///< What `list` points at.
};

}  // namespace sallyport::runtime
