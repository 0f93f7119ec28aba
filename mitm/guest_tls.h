#pragma once

#include <openssl/base.h>

#include <memory>
#include <optional>
#include <string>

#include "base/host_name.h"
#include "base/result.h"
#include "mitm/authority.h"
#include "mitm/tls_stream.h"

namespace sallyport::mitm {

/// What a guest's ClientHello is compared with, and what it turned out to be. One for each
/// connection; it outlives the connection's TlsStream.
struct GuestHello {
  std::optional<HostName> name;  ///< The name that the flow belongs to.
  IpAddress address;             ///< For a certificate where there is no name at all.
  uint16_t port = 0;             ///< The flow's.
  bool offer_h2 = false;         ///< HTTP/2 may be chosen; HTTP/1.1 always may.
  /// A ClientHello that offers both waits (`held`), with the handshake, until this is cleared.
  bool hold = false;

  bool seen = false;      ///< A whole ClientHello was read.
  bool held = false;      ///< It waits; `sni` and `mismatch` are known.
  std::string sni;        ///< Canonical; empty when there was none.
  bool mismatch = false;  ///< The SNI is not `name`: every request is to be refused.
  std::string refused;    ///< Why no handshake is possible with it; empty when one is.
};

/// The gate's side of TLS with guests. Every ClientHello is looked at anew. A session is resumed
/// only by a hello for the same server name, on a flow of the same name and port: a ticket that came
/// from another leads to a full handshake. Tickets are sealed with keys that only this object has,
/// in memory. Early data is never accepted.
class GuestTls {
 public:
  /// AUTHORITY outlives it.
  static Result<std::unique_ptr<GuestTls>> Create(Authority& authority);
  ~GuestTls();

  /// A server's stream over GUEST; ALREADY_READ are bytes that came before.
  std::unique_ptr<TlsStream> Accept(Loop& loop, std::unique_ptr<Stream> guest,
                                    std::string already_read, GuestHello& hello);

 private:
  explicit GuestTls(bssl::UniquePtr<SSL_CTX> context);
  bssl::UniquePtr<SSL_CTX> context_;
};

/// The protocol that was agreed on by ALPN; empty when none was.
std::string AlpnOf(const SSL* ssl);

}  // namespace sallyport::mitm
