#include "mitm/upstream_trust.h"

#include <openssl/x509.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/certificates.h"

namespace sallyport::mitm {
namespace {

size_t Count(X509_STORE* store) {
  return sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
}

TEST_CASE("every certificate of every bundle is trusted") {
  const std::string one = MakeTestCertificate({.name = "one", .authority = true}).Pem();
  const std::string two = MakeTestCertificate({.name = "two", .authority = true}).Pem();
  const std::string three = MakeTestCertificate({.name = "three", .authority = true}).Pem();
  const auto store =
      LoadTrustedRoots({{"a.pem", "# comment\n" + one + "\n# another\n" + two}, {"b.pem", three}});
  REQUIRE(store);
  CHECK(Count(store->get()) == 3);
}

TEST_CASE("without bundles nobody is trusted") {
  const auto store = LoadTrustedRoots({});
  REQUIRE(store);
  CHECK(Count(store->get()) == 0);
}

TEST_CASE("a bundle without a usable certificate is an error that names it") {
  const std::string good = MakeTestCertificate({.name = "good", .authority = true}).Pem();
  const std::string bad[] = {
      "",
      "no certificate here\n",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      "-----BEGIN CERTIFICATE-----\nAAAA\n",
      "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
      good.substr(0, good.size() / 2),
  };
  for (const std::string& bundle : bad) {
    INFO(bundle);
    const auto store = LoadTrustedRoots({{"good.pem", good}, {"bad.pem", bundle}});
    REQUIRE_FALSE(store);
    CHECK(store.error().code() == Code::kInvalid);
    CHECK(store.error().message().find("bad.pem") != std::string::npos);
  }
}

TEST_CASE("an odd certificate among good ones is passed over") {
  const std::string good = MakeTestCertificate({.name = "good", .authority = true}).Pem();
  const auto store = LoadTrustedRoots(
      {{"a.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + good}});
  REQUIRE(store);
  CHECK(Count(store->get()) == 1);
}

}  // namespace
}  // namespace sallyport::mitm
