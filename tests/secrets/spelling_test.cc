#include "secrets/spelling.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "tests/secrets/scrub_reference.h"

namespace sallyport::secrets {
namespace {

std::set<std::string> SetOf(Symbol symbol) {
  Spellings scratch;
  const Spellings& spellings = SpellingsOf(symbol, scratch);
  std::set<std::string> texts;
  for (size_t i = 0; i < spellings.size(); ++i) texts.emplace(spellings[i]);
  CHECK(texts.size() == spellings.size());
  return texts;
}

TEST_CASE("a symbol is spelled as encoders do") {
  using Texts = std::set<std::string>;
  CHECK(SetOf('a') == Texts{"a"});
  CHECK(SetOf('-') == Texts{"-", "%2D", "%2d"});
  CHECK(SetOf(' ') == Texts{" ", "+", "%20", "\\u0020", "&#32;", "&#x20;"});
  CHECK(SetOf('/') ==
        Texts{"/", "%2F", "%2f", "\\/", "\\u002f", "\\u002F", "&#47;", "&#x2f;", "&#x2F;"});
  CHECK(SetOf('\'') == Texts{"'", "%27", "\\u0027", "&apos;", "&#39;", "&#039;", "&#x27;"});
  CHECK(SetOf(0xe4) ==
        Texts{"\xc3\xa4", "%C3%A4", "%c3%a4", "\\u00e4", "\\u00E4", "&#228;", "&#xe4;", "&#xE4;"});
  CHECK(SetOf(0x1f511) == Texts{"\xf0\x9f\x94\x91", "%F0%9F%94%91", "%f0%9f%94%91",
                                "\\ud83d\\udd11", "\\uD83D\\uDD11", "&#128273;", "&#x1f511;",
                                "&#x1F511;"});
  CHECK(SetOf(kLoneByte + 0xe4) == Texts{"\xe4", "%E4", "%e4"});
  CHECK(SetOf(kBase64Plus).contains("-"));
  CHECK(SetOf(kBase64Slash).contains("_"));
}

TEST_CASE("every symbol's first spelling is itself, and none is shorter or too long") {
  for (Symbol symbol = 0x20; symbol <= kBase64Slash; symbol += symbol < 0x3000 ? 1 : 77) {
    Spellings scratch;
    const Spellings& spellings = SpellingsOf(symbol, scratch);
    REQUIRE(spellings.size() >= 1);
    for (size_t i = 0; i < spellings.size(); ++i) {
      REQUIRE(spellings[i].size() >= spellings[0].size());
      REQUIRE(spellings[i].size() <= Spellings::kLongest);
    }
  }
}

TEST_CASE("a text is read as UTF-8 as far as it is") {
  for (const std::string text :
       {"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91", "\xc0\x80\xc1\xbf\xe0\x80\x80\xed\xa0\x80",
        "\xf4\x90\x80\x80\xf8\x88\x80\x80\x80\xff", "\xe2\x82", "\xc3", "\x80\xbf", "\xf0\x9f\x94z",
        "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80"}) {
    std::string_view rest = text;
    for (const auto& [raw, code] : NaiveCharacters(text)) {
      const DecodedSymbol decoded = DecodeSymbol(rest);
      CHECK(decoded.size == raw.size());
      const long expected =
          code < 0 ? static_cast<long>(kLoneByte) + static_cast<unsigned char>(raw[0]) : code;
      CHECK(static_cast<long>(decoded.symbol) == expected);
      rest.remove_prefix(decoded.size);
    }
    CHECK(rest.empty());
  }
}

}  // namespace
}  // namespace sallyport::secrets
