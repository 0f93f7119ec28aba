// The input is a little program: it makes placeholders over a small alphabet, so that near misses
// are common, then a stream in pieces. The output must be what the plain way gives.
//
//   byte 0        how many placeholders (1 to 8); each then takes 4 bytes: length of the prefix,
//                 of the tail, what fills them, length of the value (0: none)
//   each other    0x00-0x3f: one character; 0x40-0x7f: the end of a piece;
//   byte          0x80-0xff: a placeholder (low 3 bits), cut at the next byte

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "secrets/substituter.h"
#include "tests/fuzz/bytes.h"
#include "tests/secrets/reference.h"

using namespace sallyport::secrets;
using sallyport::Bytes;

namespace {

constexpr std::string_view kAnchor = "1230";
constexpr std::string_view kCharacters = "1230abcd";

std::string Text(size_t size, size_t fill) {
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    text += kCharacters[(fill + i * (fill % 5 + 1)) % kCharacters.size()];
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  auto index = PlaceholderIndex::Create(std::string(kAnchor));
  SALLYPORT_CHECK(index.has_value());
  std::vector<std::string> contents;
  size_t longest = 0;
  for (size_t left = bytes.Next() % 8 + 1u; left > 0; --left) {
    std::string prefix = Text(bytes.Next() % 12, 1);
    std::string tail = Text(bytes.Next() % 40, bytes.Next());
    const size_t value = bytes.Next() % 64;
    std::string placeholder = prefix + std::string(kAnchor) + tail;
    longest = std::max(longest, placeholder.size());
    if (index->Add(std::move(placeholder))) contents.push_back(Text(value, value));
  }
  Values values;
  for (const std::string& content : contents) {
    values.push_back(content.empty() ? std::nullopt : std::optional<std::string_view>(content));
  }

  Substituter substituter(*index, values);
  std::string whole;
  std::string piece;
  std::string out;
  const auto feed = [&] {
    out += substituter.Feed(piece);
    SALLYPORT_CHECK(substituter.held() == 0 || substituter.held() < longest);
    whole += piece;
    piece.clear();
  };
  while (!bytes.empty() && whole.size() < 4096) {
    const uint8_t op = bytes.Next();
    if (op < 0x40) {
      piece += kCharacters[op % kCharacters.size()];
    } else if (op < 0x80) {
      feed();
    } else if (index->size() > 0) {
      const std::string& placeholder = index->placeholder((op & 7u) % index->size());
      const size_t cut = bytes.Next();
      piece += cut >= placeholder.size() ? placeholder : placeholder.substr(0, cut);
    }
  }
  feed();
  out += substituter.Finish();
  const std::string expected = NaiveSubstitute(*index, values, whole);
  SALLYPORT_CHECK(out == expected);
  SALLYPORT_CHECK(Substitute(*index, values, whole) == expected);
  return 0;
}
