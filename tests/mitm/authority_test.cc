#include "mitm/authority.h"

#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "tests/support/command.h"
#include "tests/support/folder.h"

namespace sallyport::mitm {
namespace {

using testing::Folder, testing::Have, testing::Run;

std::unique_ptr<Authority> Make() {
  return std::move(*Authority::Create());
}

Host Named(const std::string& name) {
  return *HostName::Parse(name);
}

bssl::UniquePtr<X509> Parsed(CRYPTO_BUFFER* leaf) {
  return bssl::UniquePtr<X509>(X509_parse_from_buffer(leaf));
}

std::string Pem(X509* certificate) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  BIO_mem_contents(bio.get(), &bytes, &size);
  return {reinterpret_cast<const char*>(bytes), size};
}

TEST_CASE("each sandbox has an authority of its own") {
  const auto one = Make();
  const auto two = Make();
  CHECK(one->trust_anchor().pem != two->trust_anchor().pem);
  CHECK(one->trust_anchor().subject_hash != two->trust_anchor().subject_hash);
  CHECK(one->trust_anchor().subject_hash.size() == 8);
}

TEST_CASE("a leaf is for its host, under the authority") {
  const auto authority = Make();
  const auto leaf = Parsed(authority->Leaf(Named("api.example.com")));
  REQUIRE(leaf);
  CHECK(X509_check_host(leaf.get(), "api.example.com", 15, 0, nullptr) == 1);
  CHECK(X509_check_host(leaf.get(), "example.com", 11, 0, nullptr) != 1);
  CHECK(X509_cmp_time(X509_get0_notBefore(leaf.get()), nullptr) < 0);
  CHECK(X509_cmp_time(X509_get0_notAfter(leaf.get()), nullptr) > 0);
}

TEST_CASE("a leaf lives for a month, and is there for guests whose clock is hours slow") {
  const auto authority = Make();
  const auto leaf = Parsed(authority->Leaf(Named("api.example.com")));
  REQUIRE(leaf);
  const ASN1_TIME* begins = X509_get0_notBefore(leaf.get());
  const ASN1_TIME* ends = X509_get0_notAfter(leaf.get());
  time_t slow = time(nullptr) - 12 * 3600;
  CHECK(X509_cmp_time(begins, &slow) < 0);
  time_t in_two_weeks = time(nullptr) + 14 * 86400;
  CHECK(X509_cmp_time(ends, &in_two_weeks) > 0);
  int days = 0;
  int seconds = 0;
  REQUIRE(ASN1_TIME_diff(&days, &seconds, begins, ends) == 1);
  CHECK(days <= 99);  // What browsers will take from 2027 on is 100.
}

TEST_CASE("a leaf is for servers only, signs nothing, and has no common name that is too long") {
  const auto authority = Make();
  const std::string long_name = std::string(60, 'a') + "." + std::string(60, 'b') + ".example.com";
  for (const std::string& name : {std::string("api.example.com"), long_name}) {
    INFO(name);
    const auto leaf = Parsed(authority->Leaf(Named(name)));
    REQUIRE(leaf);
    CHECK(X509_get_extended_key_usage(leaf.get()) == XKU_SSL_SERVER);
    CHECK(X509_get_key_usage(leaf.get()) == KU_DIGITAL_SIGNATURE);
    CHECK(X509_check_ca(leaf.get()) == 0);
    char text[256];
    const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(leaf.get()), NID_commonName,
                                               text, sizeof text);
    CHECK(size <= 64);
    CHECK(X509_check_host(leaf.get(), name.data(), name.size(), 0, nullptr) == 1);
    const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(leaf.get()));
    REQUIRE(EVP_PKEY_id(key.get()) == EVP_PKEY_EC);
    CHECK(EVP_PKEY_bits(key.get()) == 256);
  }
}

TEST_CASE("leaves are kept, and no two have the same serial") {
  const auto authority = Make();
  CRYPTO_BUFFER* first = authority->Leaf(Named("a.test"));
  CHECK(authority->Leaf(Named("a.test")) == first);
  std::set<std::string> serials;
  for (int i = 0; i < 100; ++i) {
    const auto leaf = Parsed(authority->Leaf(Named("h" + std::to_string(i) + ".test")));
    const ASN1_INTEGER* serial = X509_get0_serialNumber(leaf.get());
    CHECK(ASN1_STRING_length(serial) == 16);
    serials.emplace(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)), 16);
  }
  CHECK(serials.size() == 100);
}

TEST_CASE("the number of leaves kept is bounded") {
  const auto authority = Make();
  for (size_t i = 0; i < 1100; ++i) {
    REQUIRE(authority->Leaf(Named("h" + std::to_string(i) + ".test")) != nullptr);
  }
  CHECK(authority->leaves() == 1024);
}

TEST_CASE("OpenSSL's strict verification accepts every kind of leaf") {
  if (!Have("openssl")) return;
  const auto authority = Make();
  const Folder folder;
  const std::string anchor = folder.Write("ca.pem", authority->trust_anchor().pem);
  const std::string long_name = std::string(60, 'a') + "." + std::string(60, 'b') + ".example.com";
  const std::pair<Host, std::string> hosts[] = {
      {Named("api.example.com"), "-verify_hostname api.example.com"},
      {Named("xn--bcher-kva.example"), "-verify_hostname xn--bcher-kva.example"},
      {Named(long_name), "-verify_hostname " + long_name},
      {IpAddress::V4(192, 0, 2, 7), "-verify_ip 192.0.2.7"},
      {*IpAddress::Parse("2001:db8::1"), "-verify_ip 2001:db8::1"},
  };
  for (const auto& [host, option] : hosts) {
    const auto leaf = Parsed(authority->Leaf(host));
    REQUIRE(leaf);
    const std::string path = folder.Write("leaf.pem", Pem(leaf.get()));
    const std::string output = Run("openssl verify -x509_strict -purpose sslserver -CAfile " +
                                   anchor + " " + option + " " + path);
    CHECK(output == path + ": OK\n");
  }
}

TEST_CASE("OpenSSL finds the authority under its subject hash") {
  if (!Have("openssl")) return;
  const auto authority = Make();
  const Folder folder;
  const std::string anchor = folder.Write("ca.pem", authority->trust_anchor().pem);
  CHECK(Run("openssl x509 -noout -hash -in " + anchor) ==
        authority->trust_anchor().subject_hash + "\n");
}

TEST_CASE("OpenSSL reads the authority as one that may not have subordinates") {
  if (!Have("openssl")) return;
  const auto authority = Make();
  const Folder folder;
  const std::string anchor = folder.Write("ca.pem", authority->trust_anchor().pem);
  const std::string text = Run("openssl x509 -noout -text -in " + anchor);
  CHECK(text.find("CA:TRUE, pathlen:0") != std::string::npos);
  CHECK(text.find("Certificate Sign, CRL Sign") != std::string::npos);
  CHECK(text.find("Sallyport sandbox CA ") != std::string::npos);
  CHECK(Run("openssl verify -x509_strict -CAfile " + anchor + " " + anchor) == anchor + ": OK\n");
}

}  // namespace
}  // namespace sallyport::mitm
