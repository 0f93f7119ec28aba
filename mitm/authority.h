#pragma once

#include <openssl/base.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/host_name.h"
#include "base/result.h"
#include "mitm/interceptor.h"
#include "mitm/lru_cache.h"

namespace sallyport::mitm {

/// The certificate authority of one sandbox: a P-256 key that exists in this process's memory
/// alone, under a random name, so that no sandbox can stand in for a server towards another.
class Authority {
 public:
  static Result<std::unique_ptr<Authority>> Create();
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  const TrustAnchor& trust_anchor() const { return trust_anchor_; }

  /// The certificate for HOST, made now or earlier; null when signing fails. Good until the next
  /// call. Its key is leaf_key(), which all leaves share.
  CRYPTO_BUFFER* Leaf(const Host& host);
  EVP_PKEY* leaf_key() { return leaf_key_.get(); }

  size_t leaves() const { return leaves_.size(); }

 private:
  struct MintedLeaf {
    bssl::UniquePtr<CRYPTO_BUFFER> certificate;
    std::chrono::system_clock::time_point made;
  };

  Authority();
  Status MakeKeys();
  Status MakeOwnCertificate();
  std::string Mint(const Host& host) const;

  bssl::UniquePtr<EVP_PKEY> key_;
  bssl::UniquePtr<EVP_PKEY> leaf_key_;
  std::string name_;      // DER of the CA's name: the issuer of every leaf.
  std::string key_info_;  // DER of the CA's SubjectPublicKeyInfo.
  std::string key_id_;
  std::string leaf_key_info_;  // DER of the leaves' SubjectPublicKeyInfo.
  std::string leaf_key_id_;
  TrustAnchor trust_anchor_;
  LruCache<MintedLeaf> leaves_;
};

}  // namespace sallyport::mitm
