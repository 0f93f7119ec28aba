#include "secrets/encodings.h"

#include <algorithm>
#include <array>

#include "secrets/secret.h"

namespace sallyport::secrets {
namespace {

constexpr std::string_view kUpperHex = "0123456789ABCDEF";
constexpr std::string_view kLowerHex = "0123456789abcdef";
/// Strings of less live inside the std::string object, and each move would leave a copy behind.
constexpr size_t kAlwaysOnHeap = 32;

using Set = std::array<bool, 256>;

/// Letters, digits and OTHERS.
constexpr Set SetWith(std::string_view others) {
  Set set{};
  for (unsigned c = '0'; c <= '9'; ++c) set[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) set[c] = set[c - 'a' + 'A'] = true;
  for (const char c : others) set[static_cast<unsigned char>(c)] = true;
  return set;
}

constexpr Set kUnreserved = SetWith("-._~");
/// Of what a segment may have, the characters without ';' and ',', which delimit parameters.
constexpr Set kSegment = SetWith("-._~!$&'()*+=:@");
/// The URL standard's application/x-www-form-urlencoded percent-encode set.
constexpr Set kFormPlain = SetWith("-._*");

const Set& PlainIn(Encoding encoding) {
  if (encoding == Encoding::kPathSegment) return kSegment;
  return encoding == Encoding::kForm ? kFormPlain : kUnreserved;
}

bool IsSpaceOfForm(char c, Encoding encoding) {
  return c == ' ' && encoding == Encoding::kForm;
}

size_t PercentSize(char c, Encoding encoding) {
  const bool one = PlainIn(encoding)[static_cast<unsigned char>(c)] || IsSpaceOfForm(c, encoding);
  return one ? 1 : 3;
}

void AppendPercent(std::string& out, char c, Encoding encoding) {
  const auto byte = static_cast<unsigned char>(c);
  if (PlainIn(encoding)[byte]) {
    out += c;
  } else if (IsSpaceOfForm(c, encoding)) {
    out += '+';
  } else {
    out += '%';
    out += kUpperHex[byte >> 4];
    out += kUpperHex[byte & 0xf];
  }
}

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20;
}

size_t JsonSize(char c) {
  if (c == '"' || c == '\\') return 2;
  return IsControl(c) ? 6 : 1;
}

void AppendJson(std::string& out, char c) {
  if (c == '"' || c == '\\') {
    out += '\\';
    out += c;
  } else if (IsControl(c)) {
    out += "\\u00";
    out += kLowerHex[static_cast<unsigned char>(c) >> 4];
    out += kLowerHex[static_cast<unsigned char>(c) & 0xf];
  } else {
    out += c;
  }
}

/// How many bytes follow LEAD, and what the first of them may be at least and at most.
struct Sequence {
  size_t more = 0;
  unsigned char least = 0x80;
  unsigned char most = 0xbf;
};

/// The table 3-7 of the Unicode standard. False for what leads nothing.
bool SequenceOf(unsigned char lead, Sequence& sequence) {
  if (lead < 0x80) return true;
  if (lead < 0xc2 || lead > 0xf4) return false;
  sequence.more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  if (lead == 0xe0) sequence.least = 0xa0;
  if (lead == 0xed) sequence.most = 0x9f;
  if (lead == 0xf0) sequence.least = 0x90;
  if (lead == 0xf4) sequence.most = 0x8f;
  return true;
}

}  // namespace

size_t EncodedSize(std::string_view value, Encoding encoding) {
  if (encoding == Encoding::kRaw) return value.size();
  size_t size = 0;
  for (const char c : value) {
    size += encoding == Encoding::kJson ? JsonSize(c) : PercentSize(c, encoding);
  }
  return size;
}

void AppendEncoded(std::string& out, std::string_view value, Encoding encoding) {
  if (encoding == Encoding::kRaw) {
    out += value;
    return;
  }
  for (const char c : value) {
    if (encoding == Encoding::kJson) {
      AppendJson(out, c);
    } else {
      AppendPercent(out, c, encoding);
    }
  }
}

void ReserveWiped(std::string& text, size_t more) {
  if (text.capacity() >= kAlwaysOnHeap && text.capacity() - text.size() >= more) return;
  std::string roomy;
  roomy.reserve(std::max({text.size() + more, 2 * text.capacity(), kAlwaysOnHeap}));
  roomy += text;
  text.swap(roomy);
  WipeString(roomy);
}

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    Sequence sequence;
    if (!SequenceOf(static_cast<unsigned char>(text[at]), sequence)) return false;
    if (text.size() - at <= sequence.more) return false;
    for (size_t i = 1; i <= sequence.more; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      if (byte < (i == 1 ? sequence.least : 0x80) || byte > (i == 1 ? sequence.most : 0xbf)) {
        return false;
      }
    }
    at += sequence.more + 1;
  }
  return true;
}

}  // namespace sallyport::secrets
