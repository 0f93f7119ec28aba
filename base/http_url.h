#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/host_name.h"
#include "base/result.h"

namespace sallyport {

/// A URL of a server that the user names, with its parts in the form in which they are dialled.
struct HttpUrl {
  bool tls = true;
  Host host = IpAddress();
  uint16_t port = 443;
  std::string target = "/";  ///< Path and query, as spelled: what stands in a request's first line.

  /// "https://host[:port][/path][?query]", or the same with http. kInvalid, with what is wrong, for
  /// another scheme, user information, a fragment, a space or a control character.
  static Result<HttpUrl> Parse(std::string_view text);
  /// "host", or "host:port" where the port is not the scheme's own: the Host field.
  std::string Authority() const;
  std::string ToString() const;
  bool operator==(const HttpUrl&) const = default;
};

}  // namespace sallyport
