#pragma once

#include <openssl/base.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/host_name.h"
#include "base/result.h"
#include "mitm/interceptor.h"

namespace sallyport::mitm {

/// What the gate asks of a server, and shows to it. Sessions and connections are never shared
/// between two that differ in `id`.
struct ServerSettings {
  using Pin = std::array<uint8_t, 32>;

  ServerSettings();
  ~ServerSettings();

  /// The authorities that are trusted; null for those of every server.
  bssl::UniquePtr<X509_STORE> store;
  /// SHA-256 of SubjectPublicKeyInfos (RFC 7469), one of which must be in the verified chain.
  std::vector<Pin> pins;
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> client_chain;  ///< The leaf first.
  bssl::UniquePtr<EVP_PKEY> client_key;                      ///< Null: no client certificate.
  std::string id;  ///< A digest of all the above; empty for the default.

  /// Shows the client certificate on SSL, if there is one.
  bool ApplyIdentity(SSL* ssl) const;
};

/// The settings of each declared server. The first declaration whose pattern matches counts.
class ServerTable {
 public:
  /// BASE has the roots that every server is verified against. Errors name the bad file.
  static Result<ServerTable> Create(const std::vector<DeclaredServer>& servers, X509_STORE* base);

  const std::shared_ptr<const ServerSettings>& For(const Host& host) const;
  /// Adds the certificates of FROM to every store of its own.
  void AddRoots(X509_STORE* from);

 private:
  std::vector<std::pair<HostPattern, std::shared_ptr<const ServerSettings>>> servers_;
  std::shared_ptr<const ServerSettings> ordinary_ = std::make_shared<ServerSettings>();
};

}  // namespace sallyport::mitm
