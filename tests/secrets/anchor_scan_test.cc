#include "secrets/anchor_scan.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

namespace sallyport::secrets {
namespace {

constexpr auto kNone = std::string_view::npos;

TEST_CASE("an anchor is found at every place of a text, and nowhere else") {
  const std::string anchor = "12340678";
  for (size_t size = anchor.size(); size < 80; ++size) {
    for (size_t at = 0; at + anchor.size() <= size; ++at) {
      std::string text(size, '1');  // Near misses all over: the first byte fits everywhere.
      text.replace(at, anchor.size(), anchor);
      REQUIRE(FindAnchor(text, anchor, 0) == at);
      REQUIRE(FindAnchor(text, anchor, at) == at);
      REQUIRE(FindAnchor(text, anchor, at + 1) == kNone);
    }
  }
}

TEST_CASE("a search that begins at or behind the end finds nothing") {
  CHECK(FindAnchor("", "12", 0) == kNone);
  CHECK(FindAnchor("12", "12", 2) == kNone);
  CHECK(FindAnchor("12", "12", 3) == kNone);
  CHECK(FindAnchor("1", "12", 0) == kNone);
}

TEST_CASE("the vector scan and the portable one agree on random texts") {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 200, '\0');
    for (char& c : text) c = static_cast<char>('0' + random() % 2);
    std::string anchor(2 + random() % 7, '\0');
    for (char& c : anchor) c = static_cast<char>('0' + random() % 2);
    const size_t from = random() % 210;
    REQUIRE(FindAnchor(text, anchor, from) == FindAnchorPortable(text, anchor, from));
  }
}

}  // namespace
}  // namespace sallyport::secrets
