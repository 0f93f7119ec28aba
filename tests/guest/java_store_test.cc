#include "guest/agent/java_store.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <span>
#include <string>

#include "guest/agent/pem.h"

namespace sallyport::guest {
namespace {

using namespace std::string_literals;

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", static_cast<uint8_t>(c));
    text += pair;
  }
  return text;
}

// The checksum of a store without entries, from `keytool` and by hand with `sha1sum`.
const std::string kEmpty =
    "\xfe\xed\xfe\xed\0\0\0\2\0\0\0\0"s
    "\xe2\x68\x6e\x45\xfb\x43\xdf\xa4\xd9\x92\xdd\x41\xce\xb6\xb2\x1c\x63\x30\xd7\x92"s;

const std::string kPem = "-----BEGIN CERTIFICATE-----\nZ2F0ZQ==\n-----END CERTIFICATE-----\n";
const std::string kOther =
    "# A root\n-----BEGIN CERTIFICATE-----\ncm9v\r\ndA==\n-----END CERTIFICATE-----";

/// tag 2, the alias, a date of 0, "X.509", the certificate.
std::string Entry(const std::string& alias, const std::string& der) {
  return "\0\0\0\2"s + "\0"s + static_cast<char>(alias.size()) + alias + std::string(8, '\0') +
         "\0\5X.509\0\0\0"s + static_cast<char>(der.size()) + der;
}

/// STORE with what ExtendJavaStore() says written into it.
Result<std::string> With(std::string store, std::string_view der) {
  const auto read = [&store](size_t offset, std::span<char> buffer) {
    if (offset > store.size() || store.size() - offset < buffer.size()) return false;
    std::copy_n(store.data() + offset, buffer.size(), buffer.data());
    return true;
  };
  const auto change = ExtendJavaStore(read, store.size(), der);
  if (!change) return tl::unexpected(change.error());
  if (!*change) return store;
  store.replace(JavaStoreChange::kCountAt, (*change)->count.size(), (*change)->count);
  store.resize(store.size() - JavaStoreChange::kDigest);
  return store + (*change)->end;
}

std::string WithoutDigest(const std::string& store) {
  return store.substr(0, store.size() - 20);
}

TEST_CASE("a certificate added to a Java store is its last entry, counted and sealed") {
  const auto one = With(kEmpty, "gate");
  REQUIRE(one);
  CHECK(WithoutDigest(*one) == "\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1"s + Entry("sallyport", "gate"));
  // Of "changeit" in UTF-16, "Mighty Aphrodite" and what stands before it; by Python's hashlib.
  CHECK(Hex(one->substr(one->size() - 20)) == "b5669ce2887825c163ce69656fcb5a09da5b281b");
  CHECK(*With(*one, "gate") == *one);
  const auto two = With(*one, "other");
  REQUIRE(two);
  CHECK(two->substr(8, 4) == "\0\0\0\2"s);
}

TEST_CASE("a Java store of as many entries as there can be takes one certificate once") {
  const auto full = With(kEmpty.substr(0, 8) + "\xff\xff\xff\xfe" + kEmpty.substr(12), "gate");
  REQUIRE(full);
  CHECK(*With(*full, "gate") == *full);
  CHECK_FALSE(With(*full, "other"));
}

TEST_CASE("a Java store of several pieces is sealed as one of a single piece is") {
  const std::string large(40000, 'r');  // More than two pieces.
  const auto store = With(*With(kEmpty, large), "gate");
  REQUIRE(store);
  // As above, by Python's hashlib.
  CHECK(Hex(store->substr(store->size() - 20)) == "907f9db0bf0aec859e9ccc163fca690c28abf662");
}

TEST_CASE("a Java store that becomes unreadable is not extended") {
  const std::string store = *With(kEmpty, std::string(40000, 'r'));
  for (const size_t readable : {size_t{0}, size_t{12}, size_t{20000}, store.size() - 21}) {
    const auto read = [&](size_t offset, std::span<char> buffer) {
      if (offset + buffer.size() > readable) return false;
      std::copy_n(store.data() + offset, buffer.size(), buffer.data());
      return true;
    };
    CHECK_FALSE(ExtendJavaStore(read, store.size(), "gate"));
  }
}

TEST_CASE("what is not a JKS store is not extended") {
  for (size_t size = 0; size < kEmpty.size(); ++size) {
    CHECK_FALSE(With(kEmpty.substr(0, size), "gate"));
  }
  CHECK_FALSE(With("\x30\x82" + kEmpty, "gate"));                    // PKCS #12
  CHECK_FALSE(With("\xce\xce\xce\xce" + kEmpty.substr(4), "gate"));  // JCEKS
  CHECK_FALSE(With(kEmpty.substr(0, 8) + "\xff\xff\xff\xff" + kEmpty.substr(12), "gate"));
}

TEST_CASE("a Java store is made of all certificates in a bundle") {
  const auto store = MakeJavaStore(kOther + "\n" + kPem);
  REQUIRE(store);
  CHECK(WithoutDigest(*store) ==
        "\xfe\xed\xfe\xed\0\0\0\2\0\0\0\2"s + Entry("root0", "root") + Entry("root1", "gate"));
  CHECK(*FirstCertificate(kPem + kOther) == "gate");
}

TEST_CASE("a bundle that is not one gives no Java store") {
  for (const std::string& pem :
       {""s, "no certificate"s, kPem.substr(0, 40), "-----BEGIN CERTIFICATE-----"s,
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"s,
        "-----BEGIN CERTIFICATE-----\nZ2F*\n-----END CERTIFICATE-----\n"s}) {
    CHECK_FALSE(MakeJavaStore(pem));
    CHECK_FALSE(FirstCertificate(pem));
  }
}

}  // namespace
}  // namespace sallyport::guest
