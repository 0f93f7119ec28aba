#include "runtime/broker/signing.h"

#include <openssl/base64.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <climits>

#include "base/check.h"

namespace sallyport::runtime {

namespace {

constexpr unsigned kLeastBits = 2048;  // RFC 7518, 3.3.

/// RFC 4648, section 5, without padding.
std::string Base64Url(std::string_view bytes) {
  Wiped encoded = Base64(bytes);
  for (char& c : encoded.text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return encoded.text.substr(0, encoded.text.find('='));
}

/// A key with a passphrase is refused, not asked for.
int NoPassphrase(char*, int, int, void*) noexcept {
  return 0;
}

Result<bssl::UniquePtr<EVP_PKEY>> ReadKey(std::string_view pem) {
  SALLYPORT_CHECK(pem.size() <= INT_MAX);
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (!key) return Fail(Code::kInvalid, "the private key is not PEM, or has a passphrase");
  if (EVP_PKEY_id(key.get()) != EVP_PKEY_RSA)
    return Fail(Code::kInvalid, "the private key is not an RSA key");
  if (RSA_bits(EVP_PKEY_get0_RSA(key.get())) < kLeastBits) {
    return Fail(Code::kInvalid, "the private key has fewer than 2048 bits");
  }
  return key;
}

}  // namespace

Wiped Base64(std::string_view bytes) {
  size_t size = 0;
  SALLYPORT_CHECK(EVP_EncodedLength(&size, bytes.size()) == 1);
  Wiped out;
  out.text.resize(size);  // With the NUL that EVP_EncodeBlock writes.
  const size_t written =
      EVP_EncodeBlock(reinterpret_cast<uint8_t*>(out.text.data()),
                      reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  out.text.resize(written);
  return out;
}

Result<Wiped> SignRs256(std::string_view claims, std::string_view private_key) {
  ERR_clear_error();
  auto key = ReadKey(private_key);
  if (!key) return tl::unexpected(std::move(key).error());
  const std::string signed_part =
      Base64Url(R"({"alg":"RS256","typ":"JWT"})") + "." + Base64Url(claims);
  bssl::ScopedEVP_MD_CTX context;
  std::string signature(static_cast<size_t>(EVP_PKEY_size(key->get())), '\0');
  size_t size = signature.size();
  const bool done =
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key->get()) == 1 &&
      EVP_DigestSign(context.get(), reinterpret_cast<uint8_t*>(signature.data()), &size,
                     reinterpret_cast<const uint8_t*>(signed_part.data()), signed_part.size()) == 1;
  ERR_clear_error();
  if (!done) return Fail(Code::kInvalid, "the private key can't sign");
  signature.resize(size);
  return Wiped(signed_part + "." + Base64Url(signature));
}

}  // namespace sallyport::runtime
