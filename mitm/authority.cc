#include "mitm/authority.h"

#include <openssl/bytestring.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <cstdio>
#include <ctime>
#include <span>
#include <utility>

#include "mitm/der.h"
#include "mitm/limits.h"

// Certificates are written as DER directly: three times cheaper than through X509 objects, and
// every byte is in view. What strict verifiers ask for (Python's VERIFY_X509_STRICT, Go, Node):
// both key identifiers, key usage, a serial that is positive and unique, subjectAltName, critical
// where there is no subject.

namespace sallyport::mitm {
namespace {

using der::Element;
using std::chrono::system_clock;

constexpr std::chrono::hours kDay{24};
constexpr auto kBackdate = 1 * kDay;  // For guests whose clock is slow.
constexpr auto kLeafLifetime = 29 * kDay;
constexpr auto kLeafRenewal = 14 * kDay;
constexpr auto kAuthorityLifetime = 3650 * kDay;
constexpr size_t kMaxCommonName = 64;  // X.520.

// Object identifiers, in DER.
using namespace std::string_view_literals;
constexpr auto kEcdsaWithSha256 = "\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"sv;
constexpr auto kCommonName = "\x06\x03\x55\x04\x03"sv;
constexpr auto kSubjectKeyId = "\x06\x03\x55\x1d\x0e"sv;
constexpr auto kKeyUsage = "\x06\x03\x55\x1d\x0f"sv;
constexpr auto kSubjectAltName = "\x06\x03\x55\x1d\x11"sv;
constexpr auto kBasicConstraints = "\x06\x03\x55\x1d\x13"sv;
constexpr auto kAuthorityKeyId = "\x06\x03\x55\x1d\x23"sv;
constexpr auto kExtendedKeyUsage = "\x06\x03\x55\x1d\x25"sv;

// Whole values.
constexpr auto kVersion3 = "\xa0\x03\x02\x01\x02"sv;
constexpr auto kTrue = "\x01\x01\xff"sv;
constexpr auto kServerAuth = "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"sv;
constexpr auto kDigitalSignature = "\x03\x02\x07\x80"sv;
constexpr auto kCertAndCrlSign = "\x03\x02\x01\x06"sv;
constexpr auto kAuthorityWithoutSubordinates = "\x30\x06\x01\x01\xff\x02\x01\x00"sv;

enum class Critical { kNo, kYes };

std::string Extension(std::string_view oid, Critical critical, std::string_view value) {
  return Element(der::kSequence, {oid, critical == Critical::kYes ? kTrue : ""sv,
                                  Element(der::kOctetString, {value})});
}

std::string Time(system_clock::time_point time) {
  const time_t seconds = system_clock::to_time_t(time);
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[20];
  // RFC 5280: UTCTime until 2049, GeneralizedTime from then on.
  const bool utc = parts.tm_year + 1900 < 2050;
  const size_t size = strftime(text, sizeof text, utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &parts);
  return Element(utc ? der::kUtcTime : der::kGeneralizedTime, {{text, size}});
}

std::string Name(std::string_view common_name) {
  if (common_name.empty()) return Element(der::kSequence, {});
  return Element(
      der::kSequence,
      {Element(der::kSet, {Element(der::kSequence,
                                   {kCommonName, Element(der::kUtf8String, {common_name})})})});
}

/// 127 random bits, positive, never shorter than 16 bytes.
std::string Serial() {
  uint8_t bytes[16];
  RAND_bytes(bytes, sizeof bytes);  // Never fails: it ends the process instead.
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0x3f) | 0x40);
  return Element(der::kInteger, {{reinterpret_cast<const char*>(bytes), sizeof bytes}});
}

struct Contents {
  std::string_view issuer;
  std::string_view subject;
  std::chrono::hours lifetime;
  std::string_view key_info;
  std::string_view extensions;
};

/// The certificate, in DER, or nothing when signing fails.
std::string Sign(const Contents& contents, EVP_PKEY* key) {
  const std::string algorithm = Element(der::kSequence, {kEcdsaWithSha256});
  const auto now = system_clock::now();
  const std::string validity =
      Element(der::kSequence, {Time(now - kBackdate), Time(now + contents.lifetime)});
  const std::string to_be_signed = Element(
      der::kSequence,
      {kVersion3, Serial(), algorithm, contents.issuer, validity, contents.subject,
       contents.key_info,
       Element(der::ConstructedContext(3), {Element(der::kSequence, {contents.extensions})})});
  bssl::ScopedEVP_MD_CTX context;
  uint8_t signature[128];  // A P-256 signature has at most 72 bytes.
  size_t size = sizeof signature;
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), signature, &size,
                     reinterpret_cast<const uint8_t*>(to_be_signed.data()),
                     to_be_signed.size()) != 1) {
    return {};
  }
  const std::string_view signed_bytes(reinterpret_cast<const char*>(signature), size);
  return Element(der::kSequence,
                 {to_be_signed, algorithm, Element(der::kBitString, {"\0"sv, signed_bytes})});
}

bssl::UniquePtr<EVP_PKEY> NewKey() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (!ec || !key || EC_KEY_generate_key(ec.get()) != 1 ||
      EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) != 1) {
    return nullptr;
  }
  return key;
}

std::string KeyInfo(EVP_PKEY* key) {
  bssl::ScopedCBB cbb;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  if (CBB_init(cbb.get(), 128) != 1 || EVP_marshal_public_key(cbb.get(), key) != 1 ||
      CBB_finish(cbb.get(), &bytes, &size) != 1) {
    return {};
  }
  const bssl::UniquePtr<uint8_t> owned(bytes);
  return {reinterpret_cast<const char*>(bytes), size};
}

/// RFC 7093, method 1: the first 160 bits of the SHA-256 of the key.
std::string KeyId(std::string_view key_info) {
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(key_info.data()), key_info.size(), digest);
  return {reinterpret_cast<const char*>(digest), 20};
}

std::string SubjectKeyIdExtension(std::string_view id) {
  return Extension(kSubjectKeyId, Critical::kNo, Element(der::kOctetString, {id}));
}

std::string AuthorityKeyIdExtension(std::string_view id) {
  return Extension(kAuthorityKeyId, Critical::kNo,
                   Element(der::kSequence, {Element(der::Context(0), {id})}));
}

std::string RandomHex(size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (size_t i = 0; i < bytes; ++i) {
    uint8_t byte;
    RAND_bytes(&byte, 1);
    hex.append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
  }
  return hex;
}

/// The certificate DER as PEM.
std::string Pem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1 ||
      BIO_mem_contents(bio.get(), &bytes, &size) != 1) {
    return {};
  }
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

Authority::Authority() : leaves_(kMaxLeaves) {}
Authority::~Authority() = default;

Result<std::unique_ptr<Authority>> Authority::Create() {
  std::unique_ptr<Authority> authority(new Authority);
  if (auto made = authority->MakeKeys(); !made) return tl::unexpected(std::move(made).error());
  if (auto made = authority->MakeOwnCertificate(); !made) {
    return tl::unexpected(std::move(made).error());
  }
  return authority;
}

Status Authority::MakeKeys() {
  key_ = NewKey();
  leaf_key_ = NewKey();
  if (!key_ || !leaf_key_) return Fail(Code::kSystem, "the sandbox's CA: no key could be made");
  key_info_ = KeyInfo(key_.get());
  key_id_ = KeyId(key_info_);
  leaf_key_info_ = KeyInfo(leaf_key_.get());
  leaf_key_id_ = KeyId(leaf_key_info_);
  return {};
}

Status Authority::MakeOwnCertificate() {
  name_ = Name("Sallyport sandbox CA " + RandomHex(8));
  std::string extensions =
      Extension(kBasicConstraints, Critical::kYes, kAuthorityWithoutSubordinates);
  extensions += Extension(kKeyUsage, Critical::kYes, kCertAndCrlSign);
  extensions += SubjectKeyIdExtension(key_id_);
  extensions += AuthorityKeyIdExtension(key_id_);
  const std::string certificate = Sign({.issuer = name_,
                                        .subject = name_,
                                        .lifetime = kAuthorityLifetime,
                                        .key_info = key_info_,
                                        .extensions = extensions},
                                       key_.get());
  const auto* bytes = reinterpret_cast<const uint8_t*>(certificate.data());
  const bssl::UniquePtr<X509> parsed(
      d2i_X509(nullptr, &bytes, static_cast<long>(certificate.size())));
  if (!parsed) return Fail(Code::kSystem, "the sandbox's CA: signing failed");
  char hash[9];
  std::snprintf(hash, sizeof hash, "%08lx",
                X509_NAME_hash(X509_get_subject_name(parsed.get())) & 0xffffffffUL);
  trust_anchor_ = {Pem(parsed.get()), hash};
  return {};
}

CRYPTO_BUFFER* Authority::Leaf(const Host& host) {
  const std::string key = ToString(host);
  const auto now = system_clock::now();
  if (MintedLeaf* leaf = leaves_.Find(key); leaf != nullptr && now - leaf->made < kLeafRenewal) {
    return leaf->certificate.get();
  }
  const std::string certificate = Mint(host);
  if (certificate.empty()) return nullptr;
  bssl::UniquePtr<CRYPTO_BUFFER> buffer(CRYPTO_BUFFER_new(
      reinterpret_cast<const uint8_t*>(certificate.data()), certificate.size(), nullptr));
  return leaves_.Put(key, {std::move(buffer), now}).certificate.get();
}

std::string Authority::Mint(const Host& host) const {
  std::string text;         // As the common name.
  std::string alternative;  // As the GeneralName.
  if (const auto* address = std::get_if<IpAddress>(&host)) {
    const auto bytes = address->bytes();
    text = address->ToString();
    alternative =
        Element(der::Context(7), {{reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
  } else {
    text = std::get<HostName>(host).text();
    alternative = Element(der::Context(2), {text});
  }
  const bool named = text.size() <= kMaxCommonName;
  std::string extensions = Extension(kSubjectAltName, named ? Critical::kNo : Critical::kYes,
                                     Element(der::kSequence, {alternative}));
  extensions += Extension(kExtendedKeyUsage, Critical::kNo, kServerAuth);
  extensions += Extension(kKeyUsage, Critical::kYes, kDigitalSignature);
  extensions += SubjectKeyIdExtension(leaf_key_id_);
  extensions += AuthorityKeyIdExtension(key_id_);
  const std::string subject = Name(named ? text : "");
  return Sign({.issuer = name_,
               .subject = subject,
               .lifetime = kLeafLifetime,
               .key_info = leaf_key_info_,
               .extensions = extensions},
              key_.get());
}

}  // namespace sallyport::mitm
