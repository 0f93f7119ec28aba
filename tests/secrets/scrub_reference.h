#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_filter.h"
#include "base/check.h"

namespace sallyport::secrets {

/// A value and what stands for it.
struct NaiveSecret {
  std::string value;
  std::string placeholder;
};

inline std::string NaiveHex(std::string_view bytes, const char* format) {
  std::string hex;
  for (const char c : bytes) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), format, static_cast<unsigned char>(c));
    hex += digits.data();
  }
  return hex;
}

/// Standard alphabet, padded.
inline std::string NaiveBase64(std::string_view bytes) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bits;
  for (const char c : bytes) {
    for (int i = 7; i >= 0; --i) bits += (static_cast<unsigned char>(c) >> i & 1) != 0 ? '1' : '0';
  }
  while (bits.size() % 6 != 0) bits += '0';
  std::string text;
  for (size_t i = 0; i < bits.size(); i += 6) {
    text += alphabet[std::strtoul(bits.substr(i, 6).c_str(), nullptr, 2)];
  }
  while (text.size() % 4 != 0) text += '=';
  return text;
}

/// The digits that VALUE has to itself behind BEFORE (0 to 2) other bytes: those that are the same
/// whatever the bytes around it are.
inline std::string NaiveBase64Middle(std::string_view value, size_t before) {
  const auto with = [&](char around) {
    return NaiveBase64(std::string(before, around) + std::string(value) + std::string(3, around));
  };
  const std::string zeros = with('\0');
  const std::string ones = with('\xff');
  size_t begin = 0;
  while (zeros[begin] != ones[begin]) ++begin;
  std::string middle;
  for (size_t i = begin; i < zeros.size() && zeros[i] == ones[i]; ++i) middle += zeros[i];
  return middle;
}

/// VALUE cut into characters: UTF-8 where it is, else bytes. With the number of each; -1: a byte.
inline std::vector<std::pair<std::string, long>> NaiveCharacters(std::string_view value) {
  std::vector<std::pair<std::string, long>> characters;
  while (!value.empty()) {
    long found = -1;
    size_t size = 1;
    for (size_t n = 1; n <= 4 && n <= value.size() && found < 0; ++n) {
      // Tries all code points of N bytes by what their bits must be.
      const auto byte = [&](size_t i) { return static_cast<long>(static_cast<uint8_t>(value[i])); };
      long code = n == 1 ? byte(0) : byte(0) & (0x7f >> n);
      const long lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
      const long mask[] = {0, 0x80, 0xe0, 0xf0, 0xf8};
      bool good = (byte(0) & mask[n]) == lead[n];
      for (size_t i = 1; i < n; ++i) {
        good = good && (byte(i) & 0xc0) == 0x80;
        code = code * 64 + (byte(i) & 0x3f);
      }
      const long least[] = {0, 0, 0x80, 0x800, 0x10000};
      good = good && code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
      if (good) {
        found = code;
        size = n;
      }
    }
    characters.emplace_back(value.substr(0, size), found);
    value.remove_prefix(size);
  }
  return characters;
}

/// The ways in which the character RAW, of number CODE, is written; in BASE64 also its other alphabet.
inline std::vector<std::string> NaiveSpellings(const std::string& raw, long code, bool base64) {
  std::vector<std::string> spellings = {raw};
  const auto in = [code](std::string_view set) {
    return code > 0 && code < 0x80 && set.find(static_cast<char>(code)) != std::string_view::npos;
  };
  if ((code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') ||
      (code >= 'A' && code <= 'Z')) {
    return spellings;
  }
  for (const char* format : {"%02x", "%02X"}) {
    std::string percent;
    for (const char c : raw) percent += "%" + NaiveHex({&c, 1}, format);
    spellings.push_back(percent);
  }
  if (code == ' ') spellings.emplace_back("+");
  if (base64 && raw == "+") spellings.emplace_back("-");
  if (base64 && raw == "/") spellings.emplace_back("_");
  if (code < 0 || in("-_.~")) return spellings;
  if (in("\"\\/")) spellings.push_back("\\" + raw);
  std::array<char, 16> buffer{};
  for (const char* format : {"\\u%04lx", "\\u%04lX"}) {
    std::string escaped;
    const std::vector<long> units = code < 0x10000
                                        ? std::vector<long>{code}
                                        : std::vector<long>{0xd800 + (code - 0x10000) / 0x400,
                                                            0xdc00 + (code - 0x10000) % 0x400};
    for (const long unit : units) {
      std::snprintf(buffer.data(), buffer.size(), format, unit);
      escaped += buffer.data();
    }
    spellings.push_back(escaped);
  }
  for (const char* format : {"&#%ld;", "&#x%lx;", "&#x%lX;"}) {
    std::snprintf(buffer.data(), buffer.size(), format, code);
    spellings.emplace_back(buffer.data());
  }
  const std::pair<char, const char*> names[] = {{'&', "&amp;"},   {'<', "&lt;"},
                                                {'>', "&gt;"},    {'"', "&quot;"},
                                                {'\'', "&apos;"}, {'\'', "&#039;"}};
  for (const auto& [character, name] : names) {
    if (code == character) spellings.emplace_back(name);
  }
  return spellings;
}

/// The most bytes of the beginning of TEXT that spell a row of characters, each in one of its
/// SPELLINGS; 0: none do.
inline size_t NaiveLongest(std::string_view text,
                           const std::vector<std::vector<std::string>>& spellings, size_t at = 0) {
  if (at == spellings.size()) return 0;
  size_t longest = 0;
  for (const std::string& spelling : spellings[at]) {
    // Most differ here already; comparing all of each would take most of the time.
    if (text.empty() || text.front() != spelling.front() || !text.starts_with(spelling)) continue;
    if (at + 1 == spellings.size()) {
      longest = std::max(longest, spelling.size());
    } else if (const size_t rest =
                   NaiveLongest(text.substr(spelling.size()), spellings, at + 1)) {
      longest = std::max(longest, spelling.size() + rest);
    }
  }
  return longest;
}

/// One rendering of a secret.
struct NaivePattern {
  const NaiveSecret* secret;
  enum class Kind { kText, kHex, kBase64 } kind;
  size_t before;  // In base64: so many other bytes come first.
  std::vector<std::pair<std::string, long>> row;
  std::string replacement;
  std::vector<std::vector<std::string>> spellings;  // Of each character of the row.
};

/// SECRETS outlive what is returned.
inline std::vector<NaivePattern> NaivePatterns(const std::vector<NaiveSecret>& secrets) {
  using Kind = NaivePattern::Kind;
  std::vector<NaivePattern> patterns;
  for (const NaiveSecret& secret : secrets) {
    const auto& [value, placeholder] = secret;
    patterns.push_back({&secret, Kind::kText, 0, NaiveCharacters(value), placeholder, {}});
    for (const char* format : {"%02x", "%02X"}) {
      patterns.push_back({&secret, Kind::kHex, 0, NaiveCharacters(NaiveHex(value, format)),
                          NaiveHex(placeholder, format), {}});
    }
    std::string stretched;
    while (stretched.size() < value.size()) stretched += placeholder;
    stretched.resize(value.size());
    for (size_t before = 0; before < 3; ++before) {
      patterns.push_back({&secret, Kind::kBase64, before,
                          NaiveCharacters(NaiveBase64Middle(value, before)),
                          NaiveBase64Middle(stretched, before), {}});
    }
  }
  for (NaivePattern& pattern : patterns) {
    for (const auto& [raw, code] : pattern.row) {
      pattern.spellings.push_back(NaiveSpellings(raw, code, pattern.kind == Kind::kBase64));
    }
  }
  return patterns;
}

/// The longest rendering that TEXT begins with, of equal ones that of the first secret; null: none.
inline std::pair<const NaivePattern*, size_t> NaiveBest(const std::vector<NaivePattern>& patterns,
                                                        std::string_view text) {
  std::pair<const NaivePattern*, size_t> best{nullptr, 0};
  for (const NaivePattern& pattern : patterns) {
    const size_t size = NaiveLongest(text, pattern.spellings);
    if (size > best.second) best = {&pattern, size};
  }
  return best;
}

/// What scrubbing must give, in the plainest way: at each place the longest rendering that stands
/// there.
inline std::string NaiveScrub(const std::vector<NaivePattern>& patterns, std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto [best, size] = NaiveBest(patterns, text);
    if (best == nullptr) {
      out += text.front();
      text.remove_prefix(1);
    } else {
      out += best->replacement;
      text.remove_prefix(size);
    }
  }
  return out;
}

inline std::string NaiveScrub(const std::vector<NaiveSecret>& secrets, std::string_view text) {
  return NaiveScrub(NaivePatterns(secrets), text);
}

/// Gives PIECE to FILTER without a copy where that goes.
inline void PassOrFeed(ByteFilter& filter, std::string_view piece, std::string& out) {
  if (const auto passed = filter.Pass(piece)) {
    out += piece.substr(0, *passed);
  } else {
    SALLYPORT_CHECK(filter.Feed(piece, out).has_value());
  }
}

}  // namespace sallyport::secrets
