#include "secrets/basic_auth.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/http_message.h"

namespace sallyport::secrets {
namespace {

constexpr std::string_view kScheme = "Basic";
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kPad = '=';
constexpr int8_t kNoDigit = -1;
/// Strings of less live inside the std::string object, and each move would leave a copy behind.
constexpr size_t kAlwaysOnHeap = 32;

constexpr std::array<int8_t, 256> DigitTable() {
  std::array<int8_t, 256> table{};
  for (int8_t& digit : table) digit = kNoDigit;
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  table['-'] = table['+'];
  table['_'] = table['/'];
  return table;
}
constexpr std::array<int8_t, 256> kDigits = DigitTable();

bool IsSpace(char c) {
  return c == ' ' || c == '\t';
}

/// The base64 text of a "Basic" field value, or nothing.
std::optional<std::string_view> AfterScheme(std::string_view value) {
  while (!value.empty() && IsSpace(value.front())) value.remove_prefix(1);
  if (!EqualsIgnoreCase(value.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  value.remove_prefix(kScheme.size());
  if (value.empty() || !IsSpace(value.front())) return std::nullopt;
  return value;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  uint32_t group = 0;
  int bits = 0;
  bool padded = false;
  for (const char c : text) {
    if (IsSpace(c)) continue;
    if (c == kPad) {
      padded = true;
      continue;
    }
    const int8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (digit == kNoDigit || padded) return std::nullopt;  // Two texts in one: servers differ.
    group = (group << 6 | static_cast<uint32_t>(digit)) & 0xffffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits & 0xff);
  }
  if (bits == 6) return std::nullopt;  // One digit alone in the last group.
  return bytes;
}

}  // namespace

std::optional<std::string> DecodeBasic(std::string_view field_value) {
  const auto text = AfterScheme(field_value);
  if (!text) return std::nullopt;
  return DecodeBase64(*text);
}

std::string EncodeBasic(std::string_view credentials) {
  std::string text;
  text.reserve(std::max(kScheme.size() + 1 + (credentials.size() + 2) / 3 * 4, kAlwaysOnHeap));
  text += kScheme;
  text += ' ';
  for (size_t at = 0; at < credentials.size(); at += 3) {
    const std::string_view bytes = credentials.substr(at, 3);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      text += i <= bytes.size() ? kAlphabet[group >> (18 - 6 * i) & 0x3f] : kPad;
    }
  }
  return text;
}

}  // namespace sallyport::secrets
