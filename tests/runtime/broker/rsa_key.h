#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sallyport::runtime {

inline bssl::UniquePtr<EVP_PKEY> MakeRsaKey(int bits) {
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  BN_set_word(exponent.get(), RSA_F4);
  bssl::UniquePtr<RSA> rsa(RSA_new());
  REQUIRE(RSA_generate_key_ex(rsa.get(), bits, exponent.get(), nullptr) == 1);
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EVP_PKEY_set1_RSA(key.get(), rsa.get());
  return key;
}

inline std::string Text(BIO* bio) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  BIO_mem_contents(bio, &bytes, &size);
  return {reinterpret_cast<const char*>(bytes), size};
}

/// "BEGIN RSA PRIVATE KEY", as GitHub gives it out.
inline std::string Pkcs1Pem(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_RSAPrivateKey(bio.get(), EVP_PKEY_get0_RSA(key), nullptr, nullptr, 0,
                                      nullptr, nullptr) == 1);
  return Text(bio.get());
}
/// "BEGIN PRIVATE KEY".
inline std::string Pkcs8Pem(EVP_PKEY* key, const EVP_CIPHER* cipher = nullptr) {
  char passphrase[] = "pass";
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, cipher, passphrase,
                                        cipher != nullptr ? 4 : 0, nullptr, nullptr) == 1);
  return Text(bio.get());
}

inline std::string FromBase64Url(const std::string& text) {
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const size_t value = kAlphabet.find(c);
    if (value == kAlphabet.npos) return "(not base64url)";
    bits = bits << 6 | static_cast<unsigned>(value);
    count += 6;
    if (count >= 8) out.push_back(static_cast<char>(bits >> (count -= 8) & 0xff));
  }
  return out;
}

/// The claims of JWT, if its signature is KEY's and its algorithm RS256; else nothing. Any thread
/// may.
inline nlohmann::json VerifiedClaims(const std::string& jwt, EVP_PKEY* key) {
  const size_t first = jwt.find('.');
  const size_t second = jwt.rfind('.');
  if (first == jwt.npos || first == second) return {};
  const auto header = nlohmann::json::parse(FromBase64Url(jwt.substr(0, first)), nullptr, false);
  if (header != nlohmann::json{{"alg", "RS256"}, {"typ", "JWT"}}) return {};
  const std::string signature = FromBase64Url(jwt.substr(second + 1));
  bssl::ScopedEVP_MD_CTX context;
  if (EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestVerify(context.get(), reinterpret_cast<const uint8_t*>(signature.data()),
                       signature.size(), reinterpret_cast<const uint8_t*>(jwt.data()),
                       second) != 1) {
    return {};
  }
  return nlohmann::json::parse(FromBase64Url(jwt.substr(first + 1, second - first - 1)), nullptr,
                               false);
}

}  // namespace sallyport::runtime
