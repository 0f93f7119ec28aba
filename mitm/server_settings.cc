#include "mitm/server_settings.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstring>
#include <utility>

#include "mitm/upstream_trust.h"

namespace sallyport::mitm {
namespace {

/// Collects all that tells two settings apart. Every item is preceded by its length.
class Digest {
 public:
  Digest() { SHA256_Init(&state_); }
  void Add(std::string_view item) {
    const uint64_t size = item.size();
    SHA256_Update(&state_, &size, sizeof size);
    SHA256_Update(&state_, item.data(), item.size());
  }
  std::string Finish() {
    std::array<uint8_t, SHA256_DIGEST_LENGTH> bytes;
    SHA256_Final(bytes.data(), &state_);
    std::string hex;
    for (const uint8_t byte : bytes) {
      hex += "0123456789abcdef"[byte >> 4];
      hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
  }

 private:
  SHA256_CTX state_;
};

void CopyRoots(X509_STORE* from, X509_STORE* to) {
  const STACK_OF(X509_OBJECT)* objects = X509_STORE_get0_objects(from);
  for (size_t i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    X509* certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
    if (certificate != nullptr) X509_STORE_add_cert(to, certificate);  // Takes a reference.
  }
  ERR_clear_error();
}

bssl::UniquePtr<BIO> Reader(std::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Status ReadChain(const std::string& pem, ServerSettings& settings, Digest& digest) {
  const auto bio = Reader(pem);
  while (
      bssl::UniquePtr<X509> certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    uint8_t* der = nullptr;
    const int size = i2d_X509(certificate.get(), &der);
    if (size <= 0) break;
    const bssl::UniquePtr<uint8_t> own(der);
    settings.client_chain.emplace_back(CRYPTO_BUFFER_new(der, static_cast<size_t>(size), nullptr));
    digest.Add({reinterpret_cast<const char*>(der), static_cast<size_t>(size)});
  }
  ERR_clear_error();
  if (settings.client_chain.empty()) return Fail(Code::kInvalid, "it holds no certificate");
  return {};
}

// A key with a passphrase has nobody to ask for it: without this, BoringSSL would read a terminal.
int NoPassphrase(char*, int, int, void*) {
  return 0;
}

Status ReadIdentity(const ClientCertificate& client, ServerSettings& settings, Digest& digest) {
  if (auto status = ReadChain(client.chain.pem, settings, digest); !status) {
    return tl::unexpected(std::move(status).error().In(client.chain.name));
  }
  settings.client_key.reset(
      PEM_read_bio_PrivateKey(Reader(client.key->Reveal()).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (!settings.client_key) {
    return Fail(Code::kInvalid,
                client.key_name + ": it holds no private key in PEM without a passphrase");
  }
  const bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  const bssl::UniquePtr<SSL> probe(SSL_new(context.get()));
  const bool fits = settings.ApplyIdentity(probe.get());
  ERR_clear_error();
  if (!fits) {
    return Fail(Code::kInvalid,
                client.key_name + " is not the key of the certificate in " + client.chain.name);
  }
  return {};
}

Result<std::shared_ptr<ServerSettings>> Make(const DeclaredServer& server, X509_STORE* base) {
  auto settings = std::make_shared<ServerSettings>();
  Digest digest;
  digest.Add("roots");
  if (!server.roots.empty()) {
    auto store = LoadTrustedRoots(server.roots);
    if (!store) return tl::unexpected(std::move(store).error());
    settings->store = std::move(*store);
    CopyRoots(base, settings->store.get());
    for (const RootBundle& bundle : server.roots) digest.Add(bundle.pem);
  }
  digest.Add("pins");
  for (const std::string& pin : server.pins) {
    if (pin.size() != sizeof(ServerSettings::Pin)) {
      return Fail(Code::kInvalid, "a pin has 32 bytes");
    }
    std::memcpy(settings->pins.emplace_back().data(), pin.data(), pin.size());
    digest.Add(pin);
  }
  digest.Add("identity");
  if (server.client) {
    if (auto status = ReadIdentity(*server.client, *settings, digest); !status) {
      return tl::unexpected(std::move(status).error().In("client certificate"));
    }
  }
  settings->id = digest.Finish();
  return settings;
}

}  // namespace

ServerSettings::ServerSettings() = default;
ServerSettings::~ServerSettings() = default;

bool ServerSettings::ApplyIdentity(SSL* ssl) const {
  if (!client_key) return true;
  std::vector<CRYPTO_BUFFER*> chain;
  for (const auto& certificate : client_chain) chain.push_back(certificate.get());
  return SSL_set_chain_and_key(ssl, chain.data(), chain.size(), client_key.get(), nullptr) == 1;
}

Result<ServerTable> ServerTable::Create(const std::vector<DeclaredServer>& servers,
                                        X509_STORE* base) {
  ServerTable table;
  for (const DeclaredServer& server : servers) {
    auto settings = Make(server, base);
    if (!settings) {
      return tl::unexpected(
          std::move(settings).error().In("upstream \"" + server.host.ToString() + "\""));
    }
    table.servers_.emplace_back(server.host, std::move(*settings));
  }
  return table;
}

const std::shared_ptr<const ServerSettings>& ServerTable::For(const Host& host) const {
  if (const auto* name = std::get_if<HostName>(&host)) {
    for (const auto& [pattern, settings] : servers_) {
      if (pattern.Matches(*name)) return settings;
    }
  }
  return ordinary_;
}

void ServerTable::AddRoots(X509_STORE* from) {
  for (const auto& [pattern, settings] : servers_) {
    if (settings->store) CopyRoots(from, settings->store.get());
  }
}

}  // namespace sallyport::mitm
