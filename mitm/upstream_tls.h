#pragma once

#include <openssl/base.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/host_name.h"
#include "base/result.h"
#include "mitm/lru_cache.h"
#include "mitm/server_settings.h"
#include "mitm/tls_stream.h"

namespace sallyport::mitm {

enum class Protocol { kHttp1, kHttp2 };
/// What a server is offered: HTTP/1.1 only, or HTTP/2 as well.
enum class Protocols { kHttp1, kAny };

/// How ALPN names HTTP/2.
constexpr std::string_view kAlpnHttp2 = "h2";

/// The gate's side of TLS with servers: TLS 1.2 and 1.3, always verified, no early data, no
/// renegotiation.
class UpstreamTls {
 public:
  /// What SYSTEM_ROOTS gives, the host's own PEM bundle, joins TRUSTED at the first Connect().
  static Result<std::unique_ptr<UpstreamTls>> Create(bssl::UniquePtr<X509_STORE> trusted,
                                                     std::function<std::string()> system_roots,
                                                     ServerTable servers = {});
  ~UpstreamTls();

  /// A client's stream over SERVER, whose handshake succeeds only if the certificate verifies for
  /// HOST. SESSION_KEY names everything that a resumed session must agree with (destination, port,
  /// HOST), as resumption verifies no name again. Null when HOST can't be verified.
  std::unique_ptr<TlsStream> Connect(Loop& loop, std::unique_ptr<Stream> server, const Host& host,
                                     const std::string& session_key, Protocols protocols);

  /// Names what HOST must prove and is shown; part of every key of a session or connection.
  const std::string& VerificationOf(const Host& host) const { return servers_.For(host)->id; }

  size_t sessions() const { return sessions_.size(); }

 private:
  UpstreamTls(bssl::UniquePtr<SSL_CTX> context, std::function<std::string()> system_roots,
              ServerTable servers);

  void ReadSystemRoots();

  static int OnNewSession(SSL* ssl, SSL_SESSION* session);

  bssl::UniquePtr<SSL_CTX> context_;
  std::function<std::string()> system_roots_;  // Empty once they were read.
  ServerTable servers_;
  LruCache<bssl::UniquePtr<SSL_SESSION>> sessions_;
};

}  // namespace sallyport::mitm
