#include "mitm/upstream_trust.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string_view>

namespace sallyport::mitm {
namespace {

// The PEM labels under which a certificate stands.
bool IsCertificate(std::string_view label) {
  return label == PEM_STRING_X509 || label == PEM_STRING_X509_OLD;
}

/// Adds the certificates of BUNDLE to STORE, and returns how many; an error for broken PEM.
Result<size_t> AddBundle(const std::string& bundle, X509_STORE* store) {
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(bundle.data(), static_cast<int>(bundle.size())));
  if (!bio) return Fail(Code::kInvalid, "it is too large");
  size_t added = 0;
  for (;;) {
    char* label = nullptr;
    char* header = nullptr;
    uint8_t* bytes = nullptr;
    long size = 0;
    if (PEM_read_bio(bio.get(), &label, &header, &bytes, &size) != 1) break;
    const bssl::UniquePtr<char> own_label(label);
    const bssl::UniquePtr<char> own_header(header);
    const bssl::UniquePtr<uint8_t> own_bytes(bytes);
    if (!IsCertificate(label)) continue;
    const uint8_t* cursor = bytes;
    const bssl::UniquePtr<X509> certificate(d2i_X509(nullptr, &cursor, size));
    if (certificate && X509_STORE_add_cert(store, certificate.get()) == 1) ++added;
  }
  const uint32_t error = ERR_peek_last_error();
  ERR_clear_error();
  if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE) {
    return added;
  }
  return Fail(Code::kInvalid, "it is not well-formed PEM");
}

}  // namespace

Status AddTrustedRoots(const RootBundle& bundle, X509_STORE* store) {
  ERR_clear_error();
  const std::string which = "trusted certificates " + bundle.name;
  auto added = AddBundle(bundle.pem, store);
  if (!added) return tl::unexpected(std::move(added).error().In(which));
  if (*added == 0) return Fail(Code::kInvalid, which + ": it holds no usable certificate");
  return {};
}

Result<bssl::UniquePtr<X509_STORE>> LoadTrustedRoots(const std::vector<RootBundle>& bundles) {
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  for (const RootBundle& bundle : bundles) {
    if (auto status = AddTrustedRoots(bundle, store.get()); !status) {
      return tl::unexpected(std::move(status).error());
    }
  }
  return store;
}

}  // namespace sallyport::mitm
