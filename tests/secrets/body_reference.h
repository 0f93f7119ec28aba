#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sallyport::secrets {

/// All placeholders and what each becomes, spelled for its place; nothing: it stays as it is
/// spelled. Those count too: one may end with the character that another one begins with.
using Pairs = std::vector<std::pair<std::string, std::optional<std::string>>>;

/// How many bytes of TEXT spell one character, and which.
struct Character {
  size_t size;
  int code;  ///< -1: none that a placeholder may have.
};

inline bool AreHex(std::string_view digits, size_t wanted) {
  return digits.size() >= wanted && digits.substr(0, wanted).find_first_not_of(
                                        "0123456789abcdefABCDEF") == std::string_view::npos;
}

inline int HexOf(std::string_view digits) {
  return static_cast<int>(std::strtol(std::string(digits).c_str(), nullptr, 16));
}

inline Character PercentCharacter(std::string_view text) {
  if (text[0] == '%' && AreHex(text.substr(1), 2)) return {3, HexOf(text.substr(1, 2))};
  return {1, static_cast<unsigned char>(text[0])};
}

/// Inside a string, where TEXT does not begin with its end.
inline Character JsonCharacter(std::string_view text) {
  if (text[0] != '\\') return {1, static_cast<unsigned char>(text[0])};
  if (text.size() == 1) return {1, -1};
  if (text[1] == 'u' && AreHex(text.substr(2), 4)) return {6, HexOf(text.substr(2, 4))};
  return {2, text[1] == '/' ? '/' : -1};
}

/// In how many bytes TEXT, read by READ, begins with PLACEHOLDER; 0 when it does not.
template <class Reader>
size_t SpelledSize(std::string_view text, std::string_view placeholder, Reader read) {
  size_t at = 0;
  for (const char wanted : placeholder) {
    if (at >= text.size()) return 0;
    const Character character = read(text.substr(at));
    if (character.code != wanted) return 0;
    at += character.size;
  }
  return at;
}

/// Takes what TEXT begins with, a placeholder or one character, and returns what it becomes.
template <class Reader>
std::string TakeOne(std::string_view& text, const Pairs& pairs, Reader read) {
  for (const auto& [placeholder, value] : pairs) {
    const size_t size = SpelledSize(text, placeholder, read);
    if (size == 0) continue;
    const std::string becomes = value.value_or(std::string(text.substr(0, size)));
    text.remove_prefix(size);
    return becomes;
  }
  const std::string same(text.substr(0, read(text).size));
  text.remove_prefix(same.size());
  return same;
}

/// What a form's body must become, in the plainest way: at each character, the placeholder that is
/// spelled there.
inline std::string NaiveForm(const Pairs& pairs, std::string_view text) {
  std::string out;
  while (!text.empty()) out += TakeOne(text, pairs, PercentCharacter);
  return out;
}

/// The same for JSON: in strings alone.
inline std::string NaiveJson(const Pairs& pairs, std::string_view text) {
  std::string out;
  bool in_string = false;
  while (!text.empty()) {
    if (text[0] == '"') in_string = !in_string;
    if (text[0] == '"' || !in_string) {
      out += text[0];
      text.remove_prefix(1);
    } else {
      out += TakeOne(text, pairs, JsonCharacter);
    }
  }
  return out;
}

inline std::string NaivePlain(const Pairs& pairs, std::string_view text) {
  std::string out;
  while (!text.empty()) {
    out += TakeOne(text, pairs, [](std::string_view rest) {
      return Character{1, static_cast<unsigned char>(rest[0])};
    });
  }
  return out;
}

/// The same for a multipart body: line by line, in parts alone.
inline std::string NaiveMultipart(const Pairs& pairs, std::string_view boundary,
                                  std::string_view text) {
  const std::string delimiter = "--" + std::string(boundary);
  enum { kOutside, kFields, kPart, kEnd } state = kOutside;
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end == std::string_view::npos ? end : end + 1);
    text.remove_prefix(line.size());
    if (state != kEnd && line.starts_with(delimiter)) {
      state = line.substr(delimiter.size()).starts_with("--") ? kEnd : kFields;
      out += line;
    } else if (state == kFields) {
      if (line.find_first_not_of("\r\n") == std::string_view::npos && line.back() == '\n') {
        state = kPart;
      }
      out += line;
    } else {
      out += state == kPart ? NaivePlain(pairs, line) : std::string(line);
    }
  }
  return out;
}

}  // namespace sallyport::secrets
