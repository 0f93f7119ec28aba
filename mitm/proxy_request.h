#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/host_name.h"
#include "mitm/http1/head_reader.h"

namespace sallyport::mitm {

/// The first request on a connection to the proxy port, as far as it concerns a proxy.
struct ProxyRequest {
  enum class Kind {
    kTunnel,   ///< CONNECT host:port.
    kForward,  ///< METHOD http://host[:port]/….
    kBad,      ///< Anything else: `error` says what is wrong with it.
  };
  Kind kind = Kind::kBad;
  std::optional<Host> host;
  uint16_t port = 0;
  std::string error;
};

/// Reads what HEAD asks of a proxy. A tunnel's Host field, where there is one, must name the same
/// host, and the same port if it names one (HTTP/1.1 requires the field); a tunnel's head announces
/// no body (RFC 9110, 9.3.6). The Host field of a kForward is left to who reads the request again.
ProxyRequest ReadProxyRequest(const http1::RawHead& head);

/// HEAD as bytes for who serves the connection in the proxy's place: one request, after which the
/// connection ends, as the next one may be for another host. A head without a Host field, which
/// HTTP/1.0 allows, gets that of REQUEST.
std::string ReplayHead(const http1::RawHead& head, const ProxyRequest& request);

}  // namespace sallyport::mitm
