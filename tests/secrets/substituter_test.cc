#include "secrets/substituter.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "secrets/placeholder.h"
#include "tests/secrets/reference.h"

namespace sallyport::secrets {
namespace {

// Four placeholders: two that begin with the anchor, one whose prefix ends another's, one long.
PlaceholderIndex TestIndex() {
  Result<PlaceholderIndex> index = PlaceholderIndex::Create("1230");
  REQUIRE(index);
  for (const char* placeholder :
       {"1230abcdefghijklmnop", "1230sk-psk-sk-sk-sk-sk-", "sk-1230ponmlkjihgfedcba",
        "proj-sk-1230qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqend"}) {
    REQUIRE(index->Add(placeholder));
  }
  return *std::move(index);
}

// Longer, shorter, left as it is, and one that looks like a placeholder itself.
const Values kValues = {"a value that is longer than its placeholder", "short!", std::nullopt,
                        "1230abcdefghijklmnop"};

TEST_CASE("the output does not depend on how the input was cut") {
  const PlaceholderIndex index = TestIndex();
  const std::string input =
      "a=1230abcdefghijklmnop1230sk-psk-sk-sk-sk-sk-1230ponmlkjihgfedcba&"
      "sk-1230ponmlkjihgfedcbaproj-sk-1230qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqend"
      "proj-sk-1230ponmlkjihgfedcb.12301230abcdefghijklmnop proj-sk-12";
  const std::string expected = NaiveSubstitute(index, kValues, input);
  REQUIRE(expected != input);
  CHECK(Substitute(index, kValues, input) == expected);
  for (size_t first = 0; first <= input.size(); ++first) {
    for (size_t second = first; second <= input.size(); ++second) {
      Substituter substituter(index, kValues);
      std::string out = substituter.Feed(input.substr(0, first));
      out += substituter.Feed(input.substr(first, second - first));
      out += substituter.Feed(input.substr(second));
      out += substituter.Finish();
      if (out == expected) continue;  // REQUIRE for each would take most of the time.
      CAPTURE(first, second);
      REQUIRE(out == expected);
    }
  }
}

TEST_CASE("random pieces of placeholders in random cuts give what the plain way gives") {
  const PlaceholderIndex index = TestIndex();
  std::mt19937 random(42);
  for (int round = 0; round < 20000; ++round) {
    std::string input;
    while (input.size() < 200) {
      const std::string& placeholder = index.placeholder(random() % index.size());
      const size_t from = random() % placeholder.size();
      switch (random() % 4) {
        case 0:
          input += placeholder;
          break;
        case 1:
          input += placeholder.substr(0, from);
          break;
        case 2:
          input += placeholder.substr(from);
          break;
        default:
          input += static_cast<char>(random());
          break;
      }
    }
    Substituter substituter(index, kValues);
    std::string out;
    for (size_t at = 0; at < input.size();) {
      const size_t size = 1 + random() % 40;
      out += substituter.Feed(std::string_view(input).substr(at, size));
      at += size;
    }
    out += substituter.Finish();
    REQUIRE(out == NaiveSubstitute(index, kValues, input));
  }
}

TEST_CASE("only bytes that may still become a placeholder are held back") {
  const PlaceholderIndex index = TestIndex();
  Substituter substituter(index, kValues);
  CHECK(substituter.Feed("token 1230abcdefghijklmno") == "token ");
  CHECK(substituter.Feed("p end") == std::string(*kValues[0]) + " end");
  CHECK(substituter.held() == 0);
  CHECK(substituter.Feed("proj-sk-1230qqqqqqqqqqqqqqqq") == "");
  CHECK(substituter.Feed("x") == "proj-sk-1230qqqqqqqqqqqqqqqqx");
  CHECK(substituter.Feed("sk-12") == "");
  CHECK(substituter.Finish() == "sk-12");
  CHECK(substituter.Finish() == "");
}

TEST_CASE("less than the longest placeholder is held back, whatever comes") {
  const PlaceholderIndex index = TestIndex();
  const size_t longest = index.placeholder(3).size();
  Substituter substituter(index, kValues);
  std::string flood;
  for (int i = 0; i < 50; ++i) flood += index.placeholder(3).substr(0, 40) + "1230proj-sk-";
  for (const char c : flood) {
    substituter.Feed({&c, 1});
    REQUIRE(substituter.held() < longest);
  }
}

TEST_CASE("placeholders as they are made are found among each other") {
  const Result<std::string> anchor = MakeAnchor();
  REQUIRE(anchor);
  Result<PlaceholderIndex> index = PlaceholderIndex::Create(*anchor);
  REQUIRE(index);
  Values values;
  std::string input;
  std::string expected;
  for (const char* value : {"ghp_0123456789abcdefghijklmnopqrstuvwxyzAB", "hunter22",
                            "AKIAIOSFODNN7EXAMPLE", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                            "12345678901234567890", "sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const Result<std::string> placeholder = MakePlaceholder(ShapeOf(value), *anchor);
    REQUIRE(placeholder);
    REQUIRE(index->Add(*placeholder));
    values.emplace_back(value);
    input += *placeholder;
    expected += value;
  }
  CHECK(Substitute(*index, values, input) == expected);
}

}  // namespace
}  // namespace sallyport::secrets
