#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret_spec.h"
#include "mitm/interceptor.h"
#include "policy/engine.h"
#include "runtime/broker/broker.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

/// The keys of client certificates, as sources for the broker. They are nobody's secrets: no request
/// can carry them.
std::vector<SecretSpec> ClientKeySpecs(const policy::UpstreamOptions& upstream);

/// `upstream "HOST" { … }` as the interceptor takes it. The keys go with this.
struct DeclaredServers {
  /// FILES (name and text) has every file that UPSTREAM names, but for the keys, which BROKER reads;
  /// it may be null where there is none.
  static Result<DeclaredServers> Read(const policy::UpstreamOptions& upstream,
                                      const std::vector<std::pair<std::string, std::string>>& files,
                                      Broker* broker);

  std::vector<mitm::DeclaredServer> list;
  std::vector<secrets::Secret> keys;  ///< What `list` points at.
};

}  // namespace sallyport::runtime
