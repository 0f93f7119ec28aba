#include "base/cut_text.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport {
namespace {

TEST_CASE("a text is cut between characters") {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z";  // a, 2, 3 and 4 bytes, z.
  const size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (size_t most = 0; most < 13; ++most) {
    INFO(most);
    CHECK(CutText(text, most) == text.substr(0, ends[most]));
  }
}

TEST_CASE("of what is no UTF-8 little is missing") {
  const std::string text(100, '\x80');
  CHECK(CutText(text, 50).size() == 47);
  CHECK(CutText(text, 2).empty());
  CHECK(CutText("", 0).empty());
}

}  // namespace
}  // namespace sallyport
