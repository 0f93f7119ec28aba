#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "base/no_proxy.h"
#include "base/proxy_spec.h"
#include "base/result.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

/// The proxy that the host itself is behind: where it is, what is reached without it, and what it
/// is told. Its user and password are in locked memory, and leave it only in AppendRequest().
class ParentProxy {
 public:
  /// VALUES are what SPEC.Sources() gave, in order; empty for what is not set. Null when the
  /// environment names no proxy. Errors never hold any of a value.
  static Result<std::unique_ptr<ParentProxy>> Make(const ProxySpec& spec,
                                                   const std::vector<std::string_view>& values);

  const Host& host() const { return host_; }
  uint16_t port() const { return port_; }
  /// "proxy.example:3128", for messages.
  std::string Where() const { return ToString(host_) + ":" + std::to_string(port_); }
  bool has_credentials() const { return authorization_.has_value(); }

  /// Whether HOST is reached without it: what `no_proxy` names, and what only this host itself can
  /// mean: "localhost", loopback, link-local and metadata addresses.
  bool Skips(const Host& host, uint16_t port) const;

  /// Whether connections to NAME may go through it, so that NAME need not be known to this host's
  /// resolvers.
  bool Takes(const HostName& name) const { return !Skips(name, 0); }

  /// The request for a tunnel to HOST and PORT, in one allocation. May hold the password: the
  /// caller wipes it.
  std::string Request(const Host& host, uint16_t port) const;

 private:
  ParentProxy(const Host& host, uint16_t port) : host_(host), port_(port) {}

  Host host_;
  uint16_t port_;
  NoProxy skipped_;
  std::optional<secrets::Secret> authorization_;  // "Basic ...".
};

}  // namespace sallyport::runtime
