#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/host_name.h"
#include "base/result.h"

namespace sallyport {

/// The proxy that the host itself is behind, as HTTPS_PROXY and policies write it.
struct ProxyUrl {
  Host host;
  uint16_t port = 0;
  /// "user:password", percent-decoded; empty for none. A secret, in one allocation that the caller
  /// wipes; Parse() leaves no other copy behind.
  std::string credentials;

  /// "http://[user[:password]@]host[:port][/]", or the same without its scheme; the port's default
  /// is 80. kInvalid for anything else, with a message that never quotes TEXT.
  static Result<ProxyUrl> Parse(std::string_view text);

  /// "proxy.example:3128", for messages.
  std::string Where() const { return ToString(host) + ":" + std::to_string(port); }
};

}  // namespace sallyport
