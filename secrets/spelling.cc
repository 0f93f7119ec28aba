#include "secrets/spelling.h"

namespace sallyport::secrets {
namespace {

constexpr std::string_view kLowerDigits = "0123456789abcdef";
constexpr std::string_view kUpperDigits = "0123456789ABCDEF";
constexpr std::string_view kUnreserved = "-_.~";  ///< Of RFC 3986, beside letters and digits.
constexpr std::string_view kBackslashed = "\"\\/";
constexpr Symbol kFirstPair = 0x10000;  ///< From here on UTF-16 takes two units.

/// A spelling under construction.
class Text {
 public:
  constexpr Text& Put(char c) {
    bytes_.at(size_++) = c;
    return *this;
  }
  constexpr Text& Put(std::string_view text) {
    for (const char c : text) Put(c);
    return *this;
  }
  constexpr Text& PutHex(Symbol number, int digits, std::string_view alphabet) {
    for (int i = digits - 1; i >= 0; --i) Put(alphabet[number >> (4 * i) & 0xf]);
    return *this;
  }
  constexpr Text& PutDecimal(Symbol number) {
    Symbol unit = 1;
    while (number / unit >= 10) unit *= 10;
    for (; unit != 0; unit /= 10) Put(static_cast<char>('0' + number / unit % 10));
    return *this;
  }
  constexpr std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, Spellings::kLongest> bytes_{};
  size_t size_ = 0;
};

constexpr Text Utf8(Symbol code) {
  const auto byte = [](Symbol bits) { return static_cast<char>(static_cast<unsigned char>(bits)); };
  Text text;
  if (code < 0x80) return text.Put(byte(code));
  if (code < 0x800) return text.Put(byte(0xc0 | code >> 6)).Put(byte(0x80 | (code & 0x3f)));
  if (code < kFirstPair) {
    text.Put(byte(0xe0 | code >> 12));
  } else {
    text.Put(byte(0xf0 | code >> 18)).Put(byte(0x80 | (code >> 12 & 0x3f)));
  }
  return text.Put(byte(0x80 | (code >> 6 & 0x3f))).Put(byte(0x80 | (code & 0x3f)));
}

constexpr void AddPercent(Spellings& spellings, std::string_view raw) {
  for (const std::string_view digits : {kUpperDigits, kLowerDigits}) {
    Text text;
    for (const char c : raw) text.Put('%').PutHex(static_cast<unsigned char>(c), 2, digits);
    spellings.Add(text.view());
  }
  if (raw == " ") spellings.Add("+");
}

constexpr void AddJson(Spellings& spellings, Symbol code) {
  for (const std::string_view digits : {kLowerDigits, kUpperDigits}) {
    Text text;
    if (code < kFirstPair) {
      text.Put("\\u").PutHex(code, 4, digits);
    } else {
      const Symbol above = code - kFirstPair;
      text.Put("\\u").PutHex(0xd800 + (above >> 10), 4, digits);
      text.Put("\\u").PutHex(0xdc00 + (above & 0x3ff), 4, digits);
    }
    spellings.Add(text.view());
  }
  if (code < 0x80 && kBackslashed.find(static_cast<char>(code)) != std::string_view::npos) {
    spellings.Add(Text().Put('\\').Put(static_cast<char>(code)).view());
  }
}

constexpr std::string_view EntityOf(Symbol code) {
  switch (code) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&apos;";
    default:
      return {};
  }
}

constexpr void AddHtml(Spellings& spellings, Symbol code) {
  if (const std::string_view entity = EntityOf(code); !entity.empty()) spellings.Add(entity);
  spellings.Add(Text().Put("&#").PutDecimal(code).Put(';').view());
  if (code == '\'') spellings.Add("&#039;");
  int digits = 1;
  while (code >> (4 * digits) != 0) ++digits;
  for (const std::string_view alphabet : {kLowerDigits, kUpperDigits}) {
    spellings.Add(Text().Put("&#x").PutHex(code, digits, alphabet).Put(';').view());
  }
}

constexpr Spellings OfCodePoint(Symbol code) {
  Spellings spellings;
  const Text raw = Utf8(code);
  spellings.Add(raw.view());
  if (IsPlain(code)) return spellings;
  AddPercent(spellings, raw.view());
  if (code < 0x80 && kUnreserved.find(static_cast<char>(code)) != std::string_view::npos) {
    return spellings;
  }
  AddJson(spellings, code);
  AddHtml(spellings, code);
  return spellings;
}

constexpr Spellings OfBase64(Symbol standard, std::string_view url_safe) {
  Spellings spellings = OfCodePoint(standard);
  spellings.Add(url_safe);
  return spellings;
}

constexpr std::array<Spellings, 0x80> AsciiTable() {
  std::array<Spellings, 0x80> table;
  for (Symbol code = 0; code < table.size(); ++code) table.at(code) = OfCodePoint(code);
  return table;
}

constexpr std::array<Spellings, 0x80> kAscii = AsciiTable();
constexpr Spellings kPlus = OfBase64('+', "-");
constexpr Spellings kSlash = OfBase64('/', "_");

Spellings OfLoneByte(Symbol byte) {
  const auto raw = static_cast<char>(static_cast<unsigned char>(byte));
  Spellings spellings;
  spellings.Add({&raw, 1});
  AddPercent(spellings, {&raw, 1});
  return spellings;
}

}  // namespace

const Spellings& SpellingsOf(Symbol symbol, Spellings& scratch) {
  if (symbol < kAscii.size()) return kAscii[symbol];
  if (symbol == kBase64Plus) return kPlus;
  if (symbol == kBase64Slash) return kSlash;
  scratch = symbol < kLoneByte ? OfCodePoint(symbol) : OfLoneByte(symbol - kLoneByte);
  return scratch;
}

DecodedSymbol DecodeSymbol(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const DecodedSymbol lone{kLoneByte + byte(0), 1};
  if (byte(0) < 0x80) return {byte(0), 1};
  const size_t size = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < size) return lone;
  Symbol code = byte(0) & (0xffU >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return lone;
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::array<Symbol, 5> kSmallest = {0, 0, 0x80, 0x800, kFirstPair};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kSmallest[size] || surrogate || code > 0x10ffff) return lone;
  return {code, size};
}

}  // namespace sallyport::secrets
