#include "secrets/basic_auth.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

namespace sallyport::secrets {
namespace {

TEST_CASE("Basic credentials of every remainder are decoded and encoded") {
  // RFC 4648, 10, and RFC 7617, 2.
  const std::pair<std::string, std::string> pairs[] = {
      {"", "Basic "},
      {"f", "Basic Zg=="},
      {"fo", "Basic Zm8="},
      {"foo", "Basic Zm9v"},
      {"foobar", "Basic Zm9vYmFy"},
      {"Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
      {"\xff\xfe\xfb", "Basic //77"},
  };
  for (const auto& [plain, field] : pairs) {
    CHECK(EncodeBasic(plain) == field);
    CHECK(DecodeBasic(field) == plain);
  }
}

TEST_CASE("decoding tolerates what servers tolerate") {
  CHECK(DecodeBasic("basic Zm8=") == "fo");
  CHECK(DecodeBasic("BASIC\tZm8") == "fo");
  CHECK(DecodeBasic("  Basic   Zm8==  ") == "fo");
  CHECK(DecodeBasic("Basic Zm 9v\tYmFy") == "foobar");
  CHECK(DecodeBasic("Basic __77") == "\xff\xfe\xfb");
  CHECK(DecodeBasic("Basic Zh==") == "f");  // Bits behind the last byte.
}

TEST_CASE("what is not Basic, or not base64, has no credentials") {
  for (const char* field : {"", "Basic", "BasicZm8=", "Bearer Zm8=", "Basi Zm8=", "Basic Zm8=Zm8=",
                            "Basic Zm8*", "Basic Z", "Basic Zm9vY", "Basic Zm8=, Basic Zm8="}) {
    CAPTURE(field);
    CHECK_FALSE(DecodeBasic(field));
  }
}

TEST_CASE("random credentials come back as they were") {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string plain(random() % 100, '\0');
    for (char& c : plain) c = static_cast<char>(random());
    REQUIRE(DecodeBasic(EncodeBasic(plain)) == plain);
  }
}

}  // namespace
}  // namespace sallyport::secrets
