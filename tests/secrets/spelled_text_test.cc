#include "secrets/spelled_text.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport::secrets {
namespace {

using End = SpelledText::End;
using Start = SpelledText::Start;

TEST_CASE("percent escapes mean one byte each, and broken ones themselves") {
  const SpelledText text("a%62c%2%zz%%41+", Spelling::kPercent, End::kFinal);
  CHECK(text.meant() == "abc%2%zz%A+");
  CHECK(text.RawAt(0) == 0);
  CHECK(text.RawAt(1) == 1);
  CHECK(text.RawAt(2) == 4);
  CHECK(text.RawAt(9) == 11);
  CHECK(text.RawAt(10) == 14);
  CHECK(text.RawAt(text.meant().size()) == 15);
}

TEST_CASE("an escape that the end cuts is left out where more may follow") {
  for (const char* raw : {"ab%", "ab%4"}) {
    const SpelledText text(raw, Spelling::kPercent, End::kMayGoOn);
    CHECK(text.meant() == "ab");
    CHECK(text.RawAt(2) == 2);
    CHECK(SpelledText(raw, Spelling::kPercent, End::kFinal).meant() == raw);
  }
  for (const char* raw : {"ab\\", "ab\\u", "ab\\u004"}) {
    const SpelledText text(raw, Spelling::kJson, End::kMayGoOn, Start::kInString);
    CHECK(text.meant() == "ab");
    CHECK(text.RawAt(2) == 2);
  }
}

TEST_CASE("JSON's escapes mean what a placeholder may have in it, inside strings alone") {
  const SpelledText text("\"a\\/\\u0062\\u003D\\n\\\"\\u00e9\" \\u0062 \"", Spelling::kJson,
                         End::kFinal);
  CHECK(text.meant() == "\"a/b=\x01\x01\x01\" \\u0062 \"");
  CHECK(text.RawAt(3) == 4);
  CHECK(text.RawAt(4) == 10);
  CHECK(text.StartAt(1, 0, Start::kOutside) == Start::kInString);
  CHECK(text.StartAt(9, 1, Start::kInString) == Start::kOutside);
}

TEST_CASE("quotes are counted wherever they stand") {
  for (size_t size = 0; size < 40; ++size) {
    for (size_t at = 0; at < size; ++at) {
      std::string raw(size, '!');  // Differs from '"' in its lowest bits.
      raw[(at * 7 + 3) % size] = '\xa2';  // '"' with bit 7 set.
      raw[at] = '"';
      const SpelledText text(raw, Spelling::kJson, End::kFinal);
      CHECK(text.StartAt(size, 0, Start::kOutside) == Start::kInString);
      CHECK(text.StartAt(at, 0, Start::kOutside) == Start::kOutside);
      CHECK(text.StartAt(size, at + 1, Start::kInString) == Start::kInString);
    }
  }
}

}  // namespace
}  // namespace sallyport::secrets
