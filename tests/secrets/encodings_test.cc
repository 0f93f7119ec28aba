#include "secrets/encodings.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::secrets {
namespace {

std::string Encoded(std::string_view value, Encoding encoding) {
  std::string out;
  AppendEncoded(out, value, encoding);
  CHECK(EncodedSize(value, encoding) == out.size());
  return out;
}

TEST_CASE("a value is percent-encoded for exactly the place it is put into") {
  const std::string value = "aZ09-._~/?#[]@!$&'()*+,;=% \"\\:";
  CHECK(Encoded(value, Encoding::kRaw) == value);
  CHECK(Encoded(value, Encoding::kPathSegment) ==
        "aZ09-._~%2F%3F%23%5B%5D@!$&'()*+%2C%3B=%25%20%22%5C:");
  CHECK(Encoded(value, Encoding::kQuery) ==
        "aZ09-._~%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25%20%22%5C%3A");
  CHECK(Encoded(value, Encoding::kForm) ==
        "aZ09-._%7E%2F%3F%23%5B%5D%40%21%24%26%27%28%29*%2B%2C%3B%3D%25+%22%5C%3A");
  CHECK(Encoded("\xc3\xa9\xff", Encoding::kQuery) == "%C3%A9%FF");
}

TEST_CASE("a value in a JSON string is quoted where JSON asks for it, and nowhere else") {
  CHECK(Encoded("a/b \"c\" \\d \xc3\xa9 \x7f", Encoding::kJson) ==
        "a/b \\\"c\\\" \\\\d \xc3\xa9 \x7f");
  CHECK(Encoded(std::string_view("\0\x1f\n", 3), Encoding::kJson) == "\\u0000\\u001f\\u000a");
}

TEST_CASE("UTF-8 is told from what only looks like it") {
  for (const char* good : {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(IsUtf8(good));
  }
  for (const char* bad : {"\x80", "\xc3", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xe2\x82", "\xff", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\xc3(", "\xe2\x82(", "a\xfe"}) {
    CAPTURE(bad);
    CHECK_FALSE(IsUtf8(bad));
  }
}

TEST_CASE("making room keeps the text, on the heap, and lets it grow in place") {
  std::string text = "a value that is long enough to be on the heap";
  const std::string before = text;
  ReserveWiped(text, 1000);
  CHECK(text == before);
  const char* place = text.data();
  text.append(1000, 'x');
  CHECK(text.data() == place);
  std::string small = "8 bytes!";
  ReserveWiped(small, 1);
  const auto* object = reinterpret_cast<const char*>(&small);
  CHECK_FALSE((small.data() >= object && small.data() < object + sizeof small));
}

}  // namespace
}  // namespace sallyport::secrets
