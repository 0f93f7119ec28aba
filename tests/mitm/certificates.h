#pragma once

#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string>

// Certificates as other people make them, through X509 objects.

namespace sallyport::mitm {

inline bssl::UniquePtr<EVP_PKEY> MakeTestKey() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EC_KEY_generate_key(ec.get());
  EVP_PKEY_set1_EC_KEY(key.get(), ec.get());
  return key;
}

inline bssl::UniquePtr<EVP_PKEY> MakeTestRsaKey(unsigned bits) {
  bssl::UniquePtr<RSA> rsa(RSA_new());
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  BN_set_word(exponent.get(), RSA_F4);
  RSA_generate_key_ex(rsa.get(), static_cast<int>(bits), exponent.get(), nullptr);
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EVP_PKEY_set1_RSA(key.get(), rsa.get());
  return key;
}

/// A certificate and its key.
struct TestCertificate {
  bssl::UniquePtr<X509> certificate;
  bssl::UniquePtr<EVP_PKEY> key;

  std::string KeyPem() const {
    bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    const uint8_t* bytes = nullptr;
    size_t size = 0;
    BIO_mem_contents(bio.get(), &bytes, &size);
    return {reinterpret_cast<const char*>(bytes), size};
  }
  std::string Pem() const {
    bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate.get());
    const uint8_t* bytes = nullptr;
    size_t size = 0;
    BIO_mem_contents(bio.get(), &bytes, &size);
    return {reinterpret_cast<const char*>(bytes), size};
  }
};

/// What a test wants of a certificate. Without an issuer it is self-signed.
struct TestCertificateOptions {
  std::string name = "Test";  ///< Common name, and DNS name where not empty.
  std::string dns = {};
  std::string ip = {};  ///< Textual.
  bool authority = false;
  long seconds_from = -3600;
  long seconds_to = 3600;
  const TestCertificate* issuer = nullptr;
  unsigned rsa_bits = 0;  ///< An RSA key of this size, instead of P-256.
};

inline TestCertificate MakeTestCertificate(const TestCertificateOptions& options) {
  TestCertificate made;
  made.key = options.rsa_bits > 0 ? MakeTestRsaKey(options.rsa_bits) : MakeTestKey();
  made.certificate.reset(X509_new());
  X509* x = made.certificate.get();
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 4711);
  X509_gmtime_adj(X509_getm_notBefore(x), options.seconds_from);
  X509_gmtime_adj(X509_getm_notAfter(x), options.seconds_to);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const uint8_t*>(options.name.data()),
                             static_cast<int>(options.name.size()), -1, 0);
  const X509* issuer = options.issuer != nullptr ? options.issuer->certificate.get() : x;
  X509_set_issuer_name(x, X509_get_subject_name(issuer));
  X509_set_pubkey(x, made.key.get());
  const auto extend = [x](int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    bssl::UniquePtr<X509_EXTENSION> extension(
        X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
    X509_add_ext(x, extension.get(), -1);
  };
  if (options.authority) extend(NID_basic_constraints, "critical,CA:TRUE");
  std::string names = options.dns.empty() ? "" : "DNS:" + options.dns;
  if (!options.ip.empty()) names += (names.empty() ? "IP:" : ",IP:") + options.ip;
  if (!names.empty()) extend(NID_subject_alt_name, names);
  EVP_PKEY* signer = options.issuer != nullptr ? options.issuer->key.get() : made.key.get();
  X509_sign(x, signer, EVP_sha256());
  return made;
}

}  // namespace sallyport::mitm
