#include "mitm/server_certificate.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "mitm/tls_error.h"

// BoringSSL verifies a chain in one call; everything that it leaves open is checked behind that,
// and everything that is to be said about a failure is gathered here, while the chain is at hand.

namespace sallyport::mitm {
namespace {

constexpr size_t kShownNames = 4;
// What public authorities have issued since 2014 at least, and since BoringSSL takes less.
constexpr unsigned kLeastRsaBits = 2048;
constexpr int kLeastEcBits = 224;

constexpr char kAdviseAuthority[] =
    "if this server is meant, name its authority in the policy: upstream { ca = \"FILE\" }, or "
    "upstream \"HOST\" { ca = \"FILE\" } for it alone";

void Free(void*, void* check, CRYPTO_EX_DATA*, int, long, void*) noexcept {
  delete static_cast<ServerCheck*>(check);
}

/// Where an SSL keeps its ServerCheck.
int CheckIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, Free);
  return index;
}

std::string TextOf(const bssl::UniquePtr<BIO>& bio) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  if (BIO_mem_contents(bio.get(), &bytes, &size) != 1) return {};
  return Printable({reinterpret_cast<const char*>(bytes), size});
}

// "May  1 12:00:00 2026 GMT".
std::string TimeText(const ASN1_TIME* time) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(bio.get(), time);
  return TextOf(bio);
}

std::string NameText(X509_NAME* name) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  const std::string text = TextOf(bio);
  return text.empty() ? "nobody" : "'" + text + "'";
}

// The names that CERTIFICATE is for, some of them.
std::string NamesText(X509* certificate) {
  const bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string list;
  size_t shown = 0;
  const size_t count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (size_t i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    if (shown == kShownNames) return list + ", and others";
    const ASN1_STRING* text = name->d.dNSName;
    list.append(shown++ > 0 ? ", " : "")
        .append(Printable({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                           static_cast<size_t>(ASN1_STRING_length(text))}));
  }
  return list;
}

/// What X509_verify_cert() found, in words.
CertificateProblem Describe(X509_STORE_CTX* context) {
  const int error = X509_STORE_CTX_get_error(context);
  X509* certificate = X509_STORE_CTX_get_current_cert(context);
  if (certificate == nullptr) return {X509_verify_cert_error_string(error), {}};
  // Of whom it is said, where it is not the server's own.
  const std::string whose = X509_STORE_CTX_get_error_depth(context) == 0
                                ? ""
                                : ", that of " + NameText(X509_get_subject_name(certificate));
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {
          "certificate has expired" + whose + ": on " + TimeText(X509_get0_notAfter(certificate)),
          {}};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {"certificate is not yet valid" + whose + ": it begins on " +
                  TimeText(X509_get0_notBefore(certificate)) + "; is the host's clock right?",
              {}};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: {
      const std::string names = NamesText(certificate);
      return {"host name mismatch: the certificate is for " + (names.empty() ? "no name" : names),
              {}};
    }
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return {"self signed certificate", kAdviseAuthority};
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return {
          "the certificate was not issued by an authority that the gate trusts: its chain ends "
          "at " +
              NameText(X509_get_subject_name(certificate)),
          kAdviseAuthority};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return {
          "the certificate was not issued by an authority that the gate trusts: its issuer is " +
              NameText(X509_get_issuer_name(certificate)) +
              ", or the server left out an intermediate certificate",
          kAdviseAuthority};
    default:
      return {X509_verify_cert_error_string(error) + whose, {}};
  }
}

// The first weak key of CHAIN, the anchor excepted (it is trusted as it is); nothing if none is.
std::string WeakKeyOf(STACK_OF(X509) * chain) {
  for (size_t i = 0; i + 1 < std::max<size_t>(sk_X509_num(chain), 2); ++i) {
    X509* certificate = sk_X509_value(chain, i);
    if (certificate == nullptr) break;
    const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
    if (!key) return "a key of a kind that is not known";
    const int type = EVP_PKEY_id(key.get());
    const int bits = EVP_PKEY_bits(key.get());
    const bool weak = (type == EVP_PKEY_RSA && bits < static_cast<int>(kLeastRsaBits)) ||
                      (type == EVP_PKEY_EC && bits < kLeastEcBits);
    if (!weak) continue;
    return std::string(type == EVP_PKEY_RSA ? "an RSA key of " : "an EC key of ") +
           std::to_string(bits) + " bits, that of " + NameText(X509_get_subject_name(certificate));
  }
  return {};
}

ServerSettings::Pin PinOf(X509* certificate) {
  ServerSettings::Pin pin{};
  uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  const bssl::UniquePtr<uint8_t> own(der);
  if (size > 0) SHA256(der, static_cast<size_t>(size), pin.data());
  return pin;
}

bool IsPinned(STACK_OF(X509) * chain, const std::vector<ServerSettings::Pin>& pins) {
  for (size_t i = 0; i < sk_X509_num(chain); ++i) {
    const auto pin = PinOf(sk_X509_value(chain, i));
    if (std::find(pins.begin(), pins.end(), pin) != pins.end()) return true;
  }
  return false;
}

std::string PinText(X509* leaf) {
  const auto pin = PinOf(leaf);
  std::array<uint8_t, 45> text;  // EVP_EncodeBlock ends it with NUL.
  EVP_EncodeBlock(text.data(), pin.data(), pin.size());
  return "sha256/" + std::string(reinterpret_cast<const char*>(text.data()));
}

}  // namespace

void SetServerCheck(SSL* ssl, std::unique_ptr<ServerCheck> check) {
  SSL_set_ex_data(ssl, CheckIndex(), check.release());
}

const ServerCheck* ServerCheckOf(const SSL* ssl) {
  return static_cast<const ServerCheck*>(SSL_get_ex_data(ssl, CheckIndex()));
}

int VerifyServer(X509_STORE_CTX* context, void*) noexcept {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* check = static_cast<ServerCheck*>(SSL_get_ex_data(ssl, CheckIndex()));
  if (check == nullptr) return 0;
  if (X509_verify_cert(context) != 1) {
    check->problem = Describe(context);
    return 0;
  }
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context);
  if (const std::string weak = WeakKeyOf(chain); !weak.empty()) {
    check->problem = {"weak key in the certificate's chain: " + weak, {}};
  } else if (!check->settings->pins.empty() && !IsPinned(chain, check->settings->pins)) {
    check->problem = {
        "no key of the certificate's chain is one that the policy pins; the server's "
        "own is " +
            PinText(sk_X509_value(chain, 0)),
        "if the server has a new key, change the pin in the policy's upstream block"};
  } else {
    return 1;
  }
  X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

}  // namespace sallyport::mitm
