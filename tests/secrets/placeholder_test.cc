#include "secrets/placeholder.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cctype>
#include <cmath>
#include <set>
#include <string>

#include "secrets/public_prefix.h"
#include "secrets/random_text.h"

namespace sallyport::secrets {
namespace {

constexpr std::string_view kAnchor = "12345678";

std::string Made(const PlaceholderShape& shape) {
  const Result<std::string> placeholder = MakePlaceholder(shape, kAnchor);
  REQUIRE(placeholder);
  return *placeholder;
}

std::string For(std::string_view value) {
  return Made(ShapeOf(value));
}

double RandomBits(const PlaceholderShape& shape) {
  const auto count = std::count(shape.tail.begin(), shape.tail.end(), PlaceholderShape::kRandom);
  return static_cast<double>(count) * std::log2(static_cast<double>(shape.alphabet.size()));
}

bool AllOf(std::string_view text, int (*is)(int)) {
  return std::all_of(text.begin(), text.end(), [is](unsigned char c) { return is(c) != 0; });
}

TEST_CASE("a placeholder shows the public prefix of its value, then the anchor") {
  const std::pair<std::string, std::string> values[] = {
      {"ghp_0123456789abcdefghijklmnopqrstuvwxyzAB", "ghp_"},
      {"github_pat_11ABCDEFG0abcdefghij_KLMNOPQRSTUVWXYZ", "github_pat_"},
      {"sk-ant-api03-abcdefghijklmnopqrstuvwxyz-ABCDEFGH", "sk-ant-api03-"},
      {"sk-proj-abcdefghijklmnopqrstuvwxyz", "sk-proj-"},
      {"sk-abcdefghijklmnopqrstuvwxyz", "sk-"},
      {"xoxb-123456789012-123456789012-abcdefghijkl", "xoxb-"},
      {"AKIAIOSFODNN7EXAMPLE", "AKIA"},
      {"glpat-abcdefghijklmnopqrst", "glpat-"},
      {"SG.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuv", "SG."},
      {"AIzaSyA-abcdefghijklmnopqrstuvwxyz12345", "AIza"},
      {"a plain pass phrase of some length", ""},
  };
  for (const auto& [value, prefix] : values) {
    CAPTURE(value);
    CHECK(For(value).starts_with(prefix + std::string(kAnchor)));
    CHECK(PublicPrefixOf(value) == prefix);
  }
}

TEST_CASE("a short value shows no prefix") {
  CHECK(PublicPrefixOf("sk-hunter2") == "");
  CHECK(PublicPrefixOf("ghp_") == "");
  CHECK(PublicPrefixOf("") == "");
}

TEST_CASE("a placeholder is as long as its value where 96 random bits fit, and longer where not") {
  CHECK(For("ghp_0123456789abcdefghijklmnopqrstuvwxyzAB").size() == 42);
  CHECK(For("0123456789abcdef0123456789abcdef").size() == 32);  // A hexadecimal key of 128 bits.
  CHECK(For(std::string(200, 'x')).size() == 200);
  CHECK(For("hunter22").size() == 8 + 19);
  CHECK(For(std::string(60000, 'x')).size() == kMaxPlaceholder);
}

TEST_CASE("every shape has 96 random bits behind the anchor") {
  for (const char* value :
       {"x", "12345678", "1234567890123456789012345678901234567890", "0123456789abcdef",
        "0123456789ABCDEF0123456789ABCDEF", "AKIAIOSFODNN7EXAMPLE", "hunter2 and more",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln",
        "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"}) {
    CAPTURE(value);
    CHECK(RandomBits(ShapeOf(value)) >= 96);
  }
  const Result<PlaceholderShape> form = ShapeOfForm("test-{random}-end", 4);
  REQUIRE(form);
  CHECK(RandomBits(*form) >= 96);
}

TEST_CASE("a placeholder has the alphabet of its value, digits included") {
  CHECK(AllOf(For("98765432109876543210"), isdigit));
  CHECK(AllOf(For("ffffffffffffffffffffffffffffffff"), isxdigit));
  CHECK(For("0123456789ABCDEF0123456789ABCDEF").find_first_of("abcdef") == std::string::npos);
  CHECK(AllOf(For("AKIAIOSFODNN7EXAMPLE"), [](int c) { return isdigit(c) | isupper(c); }));
  CHECK(AllOf(For("p@ss \"word\" / with + everything = in it"), isalnum));
}

TEST_CASE("a UUID's placeholder has a UUID's groups") {
  const std::string placeholder = For("f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
  REQUIRE(placeholder.size() == 36);
  for (size_t i = 0; i < placeholder.size(); ++i) {
    CAPTURE(placeholder, i);
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    CHECK((placeholder[i] == '-') == dash);
    CHECK((dash || isxdigit(static_cast<unsigned char>(placeholder[i]))));
  }
}

TEST_CASE("a JWT's placeholder has three segments, and none of the value's claims") {
  const std::string value = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWNyZXQifQ." + std::string(60, 's');
  const std::string placeholder = For(value);
  CHECK(placeholder.size() == value.size());
  CHECK(std::count(placeholder.begin(), placeholder.end(), '.') == 2);
  CHECK(
      placeholder.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30." + std::string(kAnchor)));
}

TEST_CASE("a form keeps its literal text around anchor and randomness") {
  const Result<PlaceholderShape> shape = ShapeOfForm("user:{random}@x", 50);
  REQUIRE(shape);
  const std::string placeholder = Made(*shape);
  CHECK(placeholder.starts_with("user:" + std::string(kAnchor)));
  CHECK(placeholder.ends_with("@x"));
  CHECK(placeholder.size() == 50);
}

TEST_CASE("a form that could not be unique, or would need quoting, is refused") {
  for (const std::string& form :
       {std::string("fixed"), std::string(), std::string("{random}{random}"),
        std::string("a b{random}"), std::string("\"{random}"), std::string("${random}"),
        std::string("{random}\n"), std::string("{random}\x80"), std::string(65, 'x') + "{random}",
        "{random}" + std::string(65, 'x')}) {
    CAPTURE(form);
    const Result<PlaceholderShape> shape = ShapeOfForm(form, 20);
    REQUIRE_FALSE(shape);
    CHECK(shape.error().code() == Code::kInvalid);
  }
}

TEST_CASE("anchors are digits that never overlap themselves") {
  std::set<std::string> anchors;
  for (int i = 0; i < 500; ++i) {
    const Result<std::string> anchor = MakeAnchor();
    REQUIRE(anchor);
    CHECK(anchor->size() == 8);
    CHECK(AllOf(*anchor, isdigit));
    for (size_t size = 1; size < anchor->size(); ++size) {
      CHECK_FALSE(anchor->ends_with(anchor->substr(0, size)));
    }
    anchors.insert(*anchor);
  }
  CHECK(anchors.size() > 490);
}

TEST_CASE("random characters are all equally likely") {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr size_t kEach = 4000;
  const Result<std::string> text = RandomText(kAlphabet, kAlphabet.size() * kEach);
  REQUIRE(text);
  std::array<size_t, 256> count{};
  for (const char c : *text) ++count[static_cast<unsigned char>(c)];
  double chi_square = 0;
  for (const char c : kAlphabet) {
    const double difference = static_cast<double>(count[static_cast<unsigned char>(c)]) - kEach;
    chi_square += difference * difference / kEach;
  }
  // 61 degrees of freedom: beyond 180 once in 10^13. A bare remainder of 256 gives about 1700.
  CHECK(chi_square < 180);
}

}  // namespace
}  // namespace sallyport::secrets
