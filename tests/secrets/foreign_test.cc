#include "secrets/foreign.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport::secrets {
namespace {

constexpr std::string_view kOurs = "1230abcdefghijklmnop";

// TEXT with every "PH" as the placeholder.
std::string Filled(std::string text) {
  for (size_t at = text.find("PH"); at != std::string::npos; at = text.find("PH", at)) {
    text.replace(at, 2, kOurs);
  }
  return text;
}

std::vector<PlaceholderIndex::Match> Matches(const std::string& text) {
  Result<PlaceholderIndex> index = PlaceholderIndex::Create("1230");
  REQUIRE(index);
  REQUIRE(index->Add(std::string(kOurs)));
  return index->FindAll(text);
}

bool Foreign(const std::string& text) {
  const std::string value = Filled(text);
  return HoldsForeign(value, Matches(value));
}

bool ForeignBasic(const std::string& text) {
  const std::string credentials = Filled(text);
  return BasicHoldsForeign(credentials, Matches(credentials));
}

TEST_CASE("a placeholder with a scheme or a short word around it is ours") {
  for (const char* value :
       {"PH", "Bearer PH", "token PH", "Token token=\"PH\"", "Klaviyo-API-Key PH",
        "Discogs key=PH, secret=PH", " Bearer  PH ", "PH PH"}) {
    CAPTURE(value);
    CHECK_FALSE(Foreign(value));
  }
}

TEST_CASE("a field without a credential is not foreign") {
  for (const char* value : {"", "  ", "Bearer", "bearer ", "Token", "Basic"}) {
    CAPTURE(value);
    CHECK_FALSE(Foreign(value));
  }
}

TEST_CASE("anything that is no placeholder is foreign, however short") {
  for (const char* value : {"Bearer x", "x", "Bearer sk-1", "Basic !!!", "hunter2"}) {
    CAPTURE(value);
    CHECK(Foreign(value));
  }
}

TEST_CASE("a key beside a placeholder is foreign") {
  for (const char* value :
       {"Bearer 0123456789abcdef PH", "Bearer PH 0123456789abcdef",
        "Bearer PH, Bearer 0123456789abcdef", "0123456789abcdefghijk PH", "0123456789abcdefPH",
        "PH0123456789abcdef", "PH;0123456789abcdef", "ghp_0123456789abcdef0123456789ab PH"}) {
    CAPTURE(value);
    CHECK(Foreign(value));
  }
}

TEST_CASE("Basic credentials with a placeholder where the key belongs are ours") {
  for (const char* credentials :
       {"x-access-token:PH", "oauth2:PH", "somebody@example.com:PH", ":PH",
        "PH:", "PH:x-oauth-basic", "PH:X", "PH", "PH:PH", "", ":"}) {
    CAPTURE(credentials);
    CHECK_FALSE(ForeignBasic(credentials));
  }
}

TEST_CASE("Basic credentials with a key beside the placeholder are foreign") {
  for (const char* credentials :
       {"user:password", "user:", "key", "PH:password", "PH:0123456789abcdef",
        "sk_live_0123456789abcdef0123:PH", "user:PH0123456789abcdef", "user:0123456789abcdef PH",
        "0123456789abcdefPH:", "PH 0123456789abcdef:x"}) {
    CAPTURE(credentials);
    CHECK(ForeignBasic(credentials));
  }
  CHECK(ForeignBasic(std::string(65, 'u') + ":PH"));
}

TEST_CASE("a placeholder that is user and password at once is ours") {
  const std::string credentials = "user:1230abcdefghijklmnop";
  CHECK_FALSE(BasicHoldsForeign(credentials, {{0, credentials.size(), 0}}));
  CHECK(BasicHoldsForeign(credentials + "x", {{0, credentials.size(), 0}}));
  CHECK(BasicHoldsForeign("x" + credentials, {{1, credentials.size(), 0}}));
}

}  // namespace
}  // namespace sallyport::secrets
