#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sallyport::secrets {

/// One character of a rendered value: a code point, or one of those below.
using Symbol = uint32_t;
/// With a byte added: that byte, in a value that is no UTF-8.
constexpr Symbol kLoneByte = 0x110000;
/// The two digits of base64 that base64url has others for.
constexpr Symbol kBase64Plus = 0x110100;
constexpr Symbol kBase64Slash = 0x110101;

/// Whether no usual encoder writes SYMBOL in another way than as it is: letters, digits.
constexpr bool IsPlain(Symbol symbol) {
  return (symbol >= '0' && symbol <= '9') || (symbol >= 'A' && symbol <= 'Z') ||
         (symbol >= 'a' && symbol <= 'z');
}

/// The ways in which one symbol is written: as it is, and
///   percent-encoded (RFC 3986), with '+' for a space (forms), hex digits of either case;
///   in a JSON string (RFC 8259): \" \\ \/ and \uXXXX, with surrogates, hex digits of either case;
///   in HTML: &amp; &lt; &gt; &quot; &apos; and references by number, &#39; &#039; &#x2f; &#x2F;.
/// No two are equal, and none is shorter than the symbol as it is, which is the first.
class Spellings {
 public:
  static constexpr size_t kMost = 12;
  static constexpr size_t kLongest = 12;  ///< A pair of surrogates, or four bytes in percent.

  constexpr size_t size() const { return size_; }
  constexpr std::string_view operator[](size_t i) const {
    return {texts_[i].bytes.data(), texts_[i].size};
  }
  /// Nothing where TEXT is among them.
  constexpr void Add(std::string_view text) {
    for (size_t i = 0; i < size_; ++i) {
      if ((*this)[i] == text) return;
    }
    Text& added = texts_.at(size_++);
    for (const char c : text) added.bytes.at(added.size++) = c;
  }

 private:
  struct Text {
    std::array<char, kLongest> bytes{};
    uint8_t size = 0;
  };
  std::array<Text, kMost> texts_{};
  size_t size_ = 0;
};

/// Those of SYMBOL; they may be made in SCRATCH.
const Spellings& SpellingsOf(Symbol symbol, Spellings& scratch);

/// The first symbol of a text, and how many of its bytes it takes.
struct DecodedSymbol {
  Symbol symbol = 0;
  size_t size = 0;
};

/// TEXT is not empty. A byte that begins no well-formed UTF-8 is a symbol of its own.
DecodedSymbol DecodeSymbol(std::string_view text);

}  // namespace sallyport::secrets
