#pragma once

#include <string>
#include <vector>

#include "base/secret_source.h"

namespace sallyport {

/// Which proxy a policy says the host itself is behind: `upstream { proxy, no_proxy }`.
struct ProxySpec {
  enum class From {
    kPolicy,       ///< `url`; never with credentials in it.
    kSource,       ///< A variable or a file that holds its URL.
    kEnvironment,  ///< The variables that programs look at; none set means no proxy.
  };
  From from = From::kPolicy;
  std::string url;
  SecretSource source;                ///< Of kSource: an EnvSource or a FileSource.
  std::vector<std::string> no_proxy;  ///< Entries of NoProxy::Add().
  std::string declared_at;            ///< "policy.lua:12".

  /// What must be read to know the proxy, in the order in which ParentProxy::Make() takes the
  /// values. May hold a password: read by the broker.
  std::vector<SecretSource> Sources() const {
    if (from == From::kPolicy) return {};
    if (from == From::kSource) return {source};
    return {EnvSource{"https_proxy"}, EnvSource{"HTTPS_PROXY"}, EnvSource{"no_proxy"},
            EnvSource{"NO_PROXY"}};
  }
};

}  // namespace sallyport
