#include "secrets/placeholder_index.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport::secrets {
namespace {

PlaceholderIndex Index(std::string anchor = "1230") {
  Result<PlaceholderIndex> index = PlaceholderIndex::Create(std::move(anchor));
  REQUIRE(index);
  return *std::move(index);
}

TEST_CASE("an anchor that could overlap itself is refused") {
  for (const char* anchor : {"", "11", "121", "1231", "12012"}) {
    CAPTURE(anchor);
    CHECK_FALSE(PlaceholderIndex::Create(anchor));
  }
  CHECK(PlaceholderIndex::Create("1"));
  CHECK(PlaceholderIndex::Create("1230"));
}

TEST_CASE("a placeholder that would break the index is refused and changes nothing") {
  PlaceholderIndex index = Index();
  CHECK_FALSE(index.Add("no anchor in this one at all"));
  CHECK_FALSE(index.Add("1230abcdefghijklmno"));       // 15 bytes behind the anchor.
  CHECK_FALSE(index.Add("1230abcdefghijklmnop1230"));  // A second anchor.
  CHECK_FALSE(index.Add("12301230abcdefghijklmnop"));  // The same, side by side.
  CHECK(index.Add("1230abcdefghijklmnop"));
  CHECK_FALSE(index.Add("x1230abcdefghijklmnop"));  // Contains the one before.
  CHECK_FALSE(index.Add("x1230abcdefghijklmnopq"));
  CHECK(index.size() == 1);
  CHECK(index.FindAll("1230abcdefghijklmnop").size() == 1);
}

TEST_CASE("placeholders are found in order, with what they are") {
  PlaceholderIndex index = Index();
  REQUIRE(index.Add("gh_1230abcdefghijklmnop"));
  REQUIRE(index.Add("1230ponmlkjihgfedcba"));
  const auto matches = index.FindAll("a 1230ponmlkjihgfedcba b gh_1230abcdefghijklmnop");
  REQUIRE(matches.size() == 2);
  CHECK((matches[0].at == 2 && matches[0].size == 20 && matches[0].id == 1));
  CHECK((matches[1].at == 25 && matches[1].size == 23 && matches[1].id == 0));
}

TEST_CASE("what is shown of a placeholder stays where it is when more are added") {
  PlaceholderIndex index = Index();
  REQUIRE(index.Add("1230aaaaaaaaaaaaaaaa"));
  const std::string* first = &index.placeholder(0);
  for (char c = 'b'; c <= 'z'; ++c) REQUIRE(index.Add("1230" + std::string(16, c)));
  CHECK(first == &index.placeholder(0));
}

TEST_CASE("an end that may become a placeholder is not settled") {
  PlaceholderIndex index = Index();
  REQUIRE(index.Add("gh_1230abcdefghijklmnop"));
  REQUIRE(index.Add("1230ponmlkjihgfedcba"));
  const std::pair<std::string, size_t> texts[] = {
      {"plain text", 10},
      {"text g", 5},
      {"text gh_", 5},
      {"text gh_123", 5},
      {"text gh_1230", 5},
      {"text gh-12", 8},
      {"text 12", 5},
      {"text gh_1230a", 5},
      {"text gh_1230pon", 8},  // Only the one without a prefix fits.
      {"text gh_1230abcdefghijklmno", 5},
      {"text gh_1230abcdefghijklmnx", 27},
      {"text gh_1230abcdefghijklmnop", 28},
  };
  for (const auto& [text, settled] : texts) {
    CAPTURE(text);
    CHECK(index.ScanStream(text).settled == settled);
  }
}

}  // namespace
}  // namespace sallyport::secrets
