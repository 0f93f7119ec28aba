#pragma once

#include <string>
#include <utility>

#include "tests/mitm/harness.h"
#include "tests/mitm/http2/http2_server.h"

// Origins that speak HTTP/2, or the protocol that ALPN agreed on.

namespace sallyport::mitm::http2 {

inline const std::string kSpeaksBoth = "\x02h2\x08http/1.1";
inline const std::string kSpeaksHttp1 = "\x08http/1.1";

/// Serves HTTP/2 with ON_REQUEST where that was agreed on, and else HTTP/1.1 by Echo.
inline Origin::Handler Http2Origin(Http2Server::OnRequest on_request = EchoHttp2,
                                   Http2Server::Options options = {}) {
  return [on_request = std::move(on_request), options](Origin::Connection& connection) {
    if (connection.protocol() != "h2") return Echo(connection);
    Http2Server server(options, on_request);
    for (std::string bytes = connection.Read(); !bytes.empty(); bytes = connection.Read()) {
      if (!server.Feed(bytes)) return;
      connection.Write(server.Take());
    }
  };
}

}  // namespace sallyport::mitm::http2
