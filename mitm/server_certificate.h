#pragma once

#include <openssl/base.h>

#include <memory>
#include <string>

#include "mitm/server_settings.h"

namespace sallyport::mitm {

/// What is wrong with a server's certificate, for people.
struct CertificateProblem {
  std::string detail;  ///< "certificate has expired: on May  1 12:00:00 2026 GMT"
  std::string advice;  ///< What would make it acceptable, if that is meant; may be empty.
};

/// What a connection to a server remembers: what the server must prove, and why it did not.
struct ServerCheck {
  std::string session_key;
  std::shared_ptr<const ServerSettings> settings;
  CertificateProblem problem;
};

/// Makes SSL, a client's, verify its server as CHECK says: the chain, keys that are not weak, and
/// the pins. The name is set in SSL's own parameters.
void SetServerCheck(SSL* ssl, std::unique_ptr<ServerCheck> check);
/// What SetServerCheck() was given; null for a guest's SSL.
const ServerCheck* ServerCheckOf(const SSL* ssl);

/// For SSL_CTX_set_cert_verify_callback.
int VerifyServer(X509_STORE_CTX* context, void*) noexcept;

}  // namespace sallyport::mitm
