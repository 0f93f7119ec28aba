#include "guest/agent/nss_database.h"

#include <openssl/bytestring.h>
#include <openssl/sha.h>

#include <cstdint>
#include <vector>

#include "guest/agent/sqlite_file.h"

namespace sallyport::guest {
namespace {

// Each file is a table of objects of PKCS #11. A column is an attribute: "a" and its number in
// hexadecimal. Numbers among the values have four bytes, big endian. The certificate is one object,
// and that it is trusted is another, which names it by issuer and serial number. NSS seals
// that second one with the database's password; there is none here, so there is no seal to check
// (`certutil -N` and browsers, which set one, seal what is there).

enum Attribute : uint32_t {
  kClass = 0,
  kToken = 1,
  kPrivate = 2,
  kLabel = 3,
  kValue = 0x11,
  kCertificateType = 0x80,
  kIssuer = 0x81,
  kSerialNumber = 0x82,
  kSubject = 0x101,
  kModifiable = 0x170,
  kTrustForServers = 0xce536358,
  kTrustedSha1 = 0xce5363b4,
};
constexpr uint32_t kCertificateClass = 1;
constexpr uint32_t kTrustClass = 0xce534353;
constexpr uint32_t kX509 = 0;
constexpr uint32_t kTrustedAuthority = 0xce534352;
constexpr const char* kTrue = "\1";

// What NSS 3.87 has columns for. It asks for attributes that it does not find in an object, so they
// are here as well. Later versions have more, and add them where they write.
constexpr uint32_t kAttributes[] = {
    0x0,        0x1,        0x2,        0x3,        0x10,       0x11,       0x12,       0x80,
    0x81,       0x82,       0x83,       0x84,       0x85,       0x86,       0x87,       0x88,
    0x89,       0x8a,       0x8b,       0x90,       0x100,      0x101,      0x102,      0x103,
    0x104,      0x105,      0x106,      0x107,      0x108,      0x109,      0x10a,      0x10b,
    0x10c,      0x110,      0x111,      0x120,      0x121,      0x122,      0x123,      0x124,
    0x125,      0x126,      0x127,      0x128,      0x129,      0x130,      0x131,      0x132,
    0x133,      0x134,      0x160,      0x161,      0x162,      0x163,      0x164,      0x165,
    0x166,      0x170,      0x180,      0x181,      0x200,      0x201,      0x202,      0x210,
    0x300,      0x301,      0x302,      0x400,      0x401,      0x402,      0x403,      0x404,
    0x405,      0x406,      0x480,      0x481,      0x482,      0x500,      0x501,      0x502,
    0x503,      0x40000211, 0x40000212, 0x80000001, 0xce534351, 0xce534352, 0xce534353, 0xce534354,
    0xce534355, 0xce534356, 0xce534357, 0xce534358, 0xce534364, 0xce534365, 0xce534366, 0xce534367,
    0xce534368, 0xce534369, 0xce534373, 0xce534374, 0xce536351, 0xce536352, 0xce536353, 0xce536354,
    0xce536355, 0xce536356, 0xce536357, 0xce536358, 0xce536359, 0xce53635a, 0xce53635b, 0xce53635c,
    0xce53635d, 0xce53635e, 0xce53635f, 0xce536360, 0xce5363b4, 0xce5363b5, 0xd5a0db00,
};

/// The name of ATTRIBUTE's column.
std::string Column(uint32_t attribute) {
  std::string digits;
  do {
    digits.insert(digits.begin(), "0123456789abcdef"[attribute & 0xf]);
  } while ((attribute >>= 4) != 0);
  return "a" + digits;
}

std::string Number(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

/// Parts of a certificate, each in DER with tag and length.
struct Names {
  std::string serial_number;
  std::string issuer;
  std::string subject;
};

std::string Bytes(const CBS& part) {
  return {reinterpret_cast<const char*>(CBS_data(&part)), CBS_len(&part)};
}

Result<Names> ReadNames(std::string_view der) {
  CBS rest;
  CBS_init(&rest, reinterpret_cast<const uint8_t*>(der.data()), der.size());
  CBS certificate;
  CBS body;
  CBS serial_number;
  CBS issuer;
  CBS subject;
  const bool read =
      CBS_get_asn1(&rest, &certificate, CBS_ASN1_SEQUENCE) != 0 && CBS_len(&rest) == 0 &&
      CBS_get_asn1(&certificate, &body, CBS_ASN1_SEQUENCE) != 0 &&
      CBS_get_asn1(&body, nullptr, CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0) != 0 &&
      CBS_get_asn1_element(&body, &serial_number, CBS_ASN1_INTEGER) != 0 &&
      CBS_get_asn1(&body, nullptr, CBS_ASN1_SEQUENCE) != 0 &&  // The algorithm of its signature.
      CBS_get_asn1_element(&body, &issuer, CBS_ASN1_SEQUENCE) != 0 &&
      CBS_get_asn1(&body, nullptr, CBS_ASN1_SEQUENCE) != 0 &&  // From when to when it is valid.
      CBS_get_asn1_element(&body, &subject, CBS_ASN1_SEQUENCE) != 0;
  if (!read) return Fail(Code::kInvalid, "not a certificate");
  return Names{Bytes(serial_number), Bytes(issuer), Bytes(subject)};
}

std::string Sha1(std::string_view bytes) {
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  SHA1(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
       reinterpret_cast<uint8_t*>(digest.data()));
  return digest;
}

/// What both objects of a certificate have.
SqliteRow Object(uint32_t object_class, const Names& names) {
  return {{Column(kClass), Number(object_class)},   {Column(kToken), kTrue},
          {Column(kPrivate), std::string(1, '\0')}, {Column(kModifiable), kTrue},
          {Column(kIssuer), names.issuer},          {Column(kSerialNumber), names.serial_number}};
}

SqliteRow CertificateObject(std::string_view der, const Names& names) {
  SqliteRow certificate = Object(kCertificateClass, names);
  certificate.emplace_back(Column(kLabel), "sallyport");
  certificate.emplace_back(Column(kCertificateType), Number(kX509));
  certificate.emplace_back(Column(kSubject), names.subject);
  certificate.emplace_back(Column(kValue), der);
  return certificate;
}

}  // namespace

Result<NssDatabase> MakeNssDatabase(std::string_view der) {
  const auto names = ReadNames(der);
  if (!names) return tl::unexpected(names.error());
  SqliteRow trust = Object(kTrustClass, *names);
  trust.emplace_back(Column(kTrustForServers), Number(kTrustedAuthority));
  trust.emplace_back(Column(kTrustedSha1), Sha1(der));
  const std::vector<SqliteRow> objects = {CertificateObject(der, *names), std::move(trust)};
  std::vector<std::string> columns;
  for (const uint32_t attribute : kAttributes) columns.push_back(Column(attribute));
  auto certificates = MakeSqliteFile("nssPublic", columns, objects);
  if (!certificates) return tl::unexpected(std::move(certificates).error());
  auto keys = MakeSqliteFile("nssPrivate", columns, {});
  if (!keys) return tl::unexpected(std::move(keys).error());
  return NssDatabase{*std::move(certificates), *std::move(keys)};
}

}  // namespace sallyport::guest
