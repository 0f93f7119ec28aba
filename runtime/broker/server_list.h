#pragma once

#include <vector>

#include "base/result.h"
#include "mitm/interceptor.h"
#include "runtime/broker/messages.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

/// `upstream "HOST" { … }` as TLS takes it, in the warden and in the broker alike. The keys go with
/// this.
struct ServerList {
  /// KEYS are those of the servers with a client certificate, in their order.
  static Result<ServerList> Make(const std::vector<BrokerLaunch::Server>& servers,
                                 std::vector<secrets::Secret> keys);

  std::vector<mitm::DeclaredServer> list;
  std::vector<secrets::Secret> keys;  ///< What `list` points at.
};

}  // namespace sallyport::runtime
