#include "base/path_glob.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace sallyport {
namespace {

// The segment of PATH that starts at POSITION, and where the next one starts: PATH.size() + 1
// after the last.
struct Segment {
  std::string_view text;
  size_t next;
};

Segment SegmentAt(std::string_view path, size_t position) {
  const size_t end = std::min(path.find('/', position), path.size());
  return {path.substr(position, end - position), end + 1};
}

// Going back to the last '*' alone is enough for a glob without alternatives, which bounds the
// work by the product of both lengths.
bool SegmentMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsUnreserved(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

// Whether FIRST and SECOND begin a UTF-8 sequence longer than its character needs, which careless
// decoders take for '.' or '/'.
bool IsOverlong(uint8_t first, uint8_t second) {
  if (second < 0x80 || second > 0xbf) return false;
  return first == 0xc0 || first == 0xc1 || (first == 0xe0 && second < 0xa0) ||
         (first == 0xf0 && second < 0x90);
}

// Whether an escape of C means the same to servers as C itself: what no server takes for the end of
// a segment, a parameter, a query or another escape.
bool IsPlainInside(uint8_t c) {
  return IsUnreserved(c) || (c < 0x80 && std::string_view("!$&'()*+,=:@").find(static_cast<char>(c)) !=
                                             std::string_view::npos);
}

void AppendEscape(std::string& text, uint8_t byte) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  text.append(1, '%').append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
}

// The byte that TEXT has an escape for at POSITION, of a '%'; -1 if it is broken.
int EscapedByte(std::string_view text, size_t position) {
  if (position + 2 >= text.size()) return -1;
  const int high = HexValue(text[position + 1]);
  const int low = HexValue(text[position + 2]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool HasOneSpelling(std::string_view path) {
  return std::all_of(path.begin(), path.end(), [](char c) {
    return c != '%' && static_cast<unsigned char>(c) < 0x80;
  });
}

// PATH in the one spelling that paths are compared in: what has the same meaning with and without an
// escape without, all else that is not ASCII with one, in upper case. A broken escape stays.
std::string InOneSpelling(std::string_view path) {
  std::string spelled;
  spelled.reserve(path.size());
  for (size_t i = 0; i < path.size(); ++i) {
    const int escaped = path[i] == '%' ? EscapedByte(path, i) : -1;
    const auto byte = static_cast<uint8_t>(escaped >= 0 ? escaped : path[i]);
    if (escaped >= 0) i += 2;
    if (byte >= 0x80 || (escaped >= 0 && !IsPlainInside(byte))) {
      AppendEscape(spelled, byte);
    } else {
      spelled += static_cast<char>(byte);
    }
  }
  return spelled;
}

// InOneSpelling of PATH with every backslash a slash. kInvalid for what servers read differently.
Result<std::string> DecodeUnreserved(std::string_view path) {
  std::string decoded;
  decoded.reserve(path.size());
  uint8_t previous = 0;
  for (size_t i = 0; i < path.size(); ++i) {
    auto byte = static_cast<uint8_t>(path[i]);
    const bool escaped = path[i] == '%';
    if (escaped) {
      const int value = EscapedByte(path, i);
      if (value < 0) return Fail(Code::kInvalid, "the path has a broken % escape");
      byte = static_cast<uint8_t>(value);
      i += 2;
    }
    if (byte == 0) return Fail(Code::kInvalid, "the path has a NUL");
    if (IsOverlong(previous, byte)) return Fail(Code::kInvalid, "the path has overlong UTF-8");
    previous = byte;
    if (byte == '\\') {
      decoded += '/';
    } else if (byte >= 0x80 || (escaped && !IsPlainInside(byte))) {
      AppendEscape(decoded, byte);
    } else {
      decoded += static_cast<char>(byte);
    }
  }
  return decoded;
}

// Calls VISIT with each piece of TEXT between separators SEPARATOR.
template <class Visit>
void Split(std::string_view text, std::string_view separator, Visit visit) {
  while (true) {
    const size_t end = text.find(separator);
    visit(text.substr(0, end));
    if (end == text.npos) return;
    text.remove_prefix(end + separator.size());
  }
}

bool IsDotSegment(std::string_view segment) {
  return segment == "." || segment == "..";
}

// Builds the normalised path segment by segment.
class PathBuilder {
 public:
  void Add(std::string_view segment) {
    segment = segment.substr(0, segment.find(';'));
    ends_in_slash_ = segment.empty() || IsDotSegment(segment);
    if (segment == "..") {
      if (!segments_.empty()) segments_.pop_back();
    } else if (!ends_in_slash_) {
      segments_.push_back(segment);
    }
  }

  std::string Build() const {
    std::string path;
    for (const std::string_view segment : segments_) path.append(1, '/').append(segment);
    if (ends_in_slash_ || path.empty()) path += '/';
    return path;
  }

 private:
  std::vector<std::string_view> segments_;
  bool ends_in_slash_ = true;
};

tl::unexpected<Error> BadPattern(std::string_view pattern, const std::string& why) {
  return Fail(Code::kInvalid, "the path pattern '" + std::string(pattern) + "' " + why);
}

Status CheckCharacters(std::string_view pattern) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    const auto c = static_cast<unsigned char>(pattern[i]);
    if (c == '?') {
      return BadPattern(pattern, "has a '?': '*' is the wildcard, and no rule looks at a request's query");
    }
    if (c <= 0x20 || c == 0x7f || c == '#') {
      return BadPattern(pattern,
                        "has a character that no path has (a space, '#' or a control character); "
                        "escape it with %");
    }
    if (c != '%') continue;
    const int escaped = EscapedByte(pattern, i);
    if (escaped < 0) return BadPattern(pattern, "has a '%' without two hex digits; write %25");
    if (escaped == '*') return BadPattern(pattern, "has %2A, and a pattern can't mean a star; write '*'");
    if (escaped == ';') return BadPattern(pattern, "has %3B, which servers read differently; write '*'");
  }
  return {};
}

Status CheckStars(std::string_view pattern) {
  for (size_t position = 1; position <= pattern.size();) {
    const Segment segment = SegmentAt(pattern, position);
    if (segment.text.find("**") != std::string_view::npos && segment.text != "**") {
      return Fail(Code::kInvalid, "in the path pattern '" + std::string(pattern) +
                                      "' a '**' must be a whole segment, as in '/repos/**'; use "
                                      "'*' within a segment");
    }
    position = segment.next;
  }
  return {};
}

enum class Subject {
  kPath,
  kPattern,  ///< All that it matches: its stars are matched by stars alone.
};

// Whether PATTERN matches PATH, both in their one spelling.
bool MatchesSpelled(std::string_view pattern, std::string_view path, Subject subject) {
  if (!path.starts_with('/')) return false;
  size_t p = 1;
  size_t s = 1;
  size_t stars = 0;  // Behind the last "**", and the segment that it gives back next.
  size_t stars_path = 0;
  while (s <= path.size()) {
    const Segment wanted = p <= pattern.size() ? SegmentAt(pattern, p) : Segment{{}, 0};
    if (wanted.next != 0 && wanted.text == "**") {
      p = stars = wanted.next;
      stars_path = s;
      continue;
    }
    const Segment here = SegmentAt(path, s);
    const bool spans = subject == Subject::kPattern && here.text == "**";
    if (wanted.next != 0 && !spans && SegmentMatches(wanted.text, here.text)) {
      p = wanted.next;
      s = here.next;
    } else if (stars != 0) {
      s = stars_path = SegmentAt(path, stars_path).next;
      p = stars;
    } else {
      return false;
    }
  }
  while (p <= pattern.size() && SegmentAt(pattern, p).text == "**") p = SegmentAt(pattern, p).next;
  return p > pattern.size();
}

}  // namespace

Result<PathGlob> PathGlob::Parse(std::string_view pattern) {
  if (!pattern.starts_with('/')) {
    return BadPattern(pattern, "must start with '/'; write '/" + std::string(pattern) + "'");
  }
  // As it is, it is in its one spelling and its own normal form.
  const bool plain = IsPlainPath(pattern);
  if (plain && pattern.find("**") == pattern.npos) return PathGlob(std::string(pattern));
  if (auto checked = CheckCharacters(pattern); !checked) return tl::unexpected(std::move(checked).error());
  if (auto checked = CheckStars(pattern); !checked) return tl::unexpected(std::move(checked).error());
  if (plain) return PathGlob(std::string(pattern));
  std::string spelled = InOneSpelling(pattern);
  // A path is compared in both forms that servers may take it for. With a pattern that is not its
  // own normal form a rule would never hold for the two.
  auto normal = NormalizePath(spelled);
  if (!normal) return BadPattern(pattern, "can't match: " + normal.error().message());
  if (*normal != spelled) {
    return BadPattern(pattern,
                      "has a '.' or '..' segment, '//', a '\\' or a ';', which servers read differently; "
                      "write '" + *normal + "'");
  }
  return PathGlob(std::move(spelled));
}

bool PathGlob::Matches(std::string_view path) const {
  if (HasOneSpelling(path)) return MatchesSpelled(text_, path, Subject::kPath);
  return MatchesSpelled(text_, InOneSpelling(path), Subject::kPath);
}

bool PathGlob::Covers(const PathGlob& other) const {
  return MatchesSpelled(text_, other.text_, Subject::kPattern);
}

Result<std::string> NormalizePath(std::string_view path) {
  auto decoded = DecodeUnreserved(path);
  if (!decoded) return decoded;
  if (!decoded->starts_with('/')) return decoded;
  PathBuilder builder;
  Split(std::string_view(*decoded).substr(1), "/", [&builder](std::string_view segment) {
    // "..%2Fadmin": a server that decodes before it resolves dots sees more than one segment.
    bool hides_dots = false;
    Split(segment, "%2F", [&hides_dots](std::string_view piece) {
      hides_dots |= IsDotSegment(piece.substr(0, piece.find(';')));
    });
    if (!hides_dots) return builder.Add(segment);
    Split(segment, "%2F", [&builder](std::string_view piece) { builder.Add(piece); });
  });
  return builder.Build();
}

bool IsPlainPath(std::string_view path) {
  // Letters, digits and what else has no meaning to any server: no '%', '\\', ';', control or space.
  static constexpr auto kPlain = [] {
    std::array<bool, 256> plain{};
    for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789-_~!$&'()*+,=:@/.")) {
      plain[static_cast<uint8_t>(c)] = true;
    }
    return plain;
  }();
  if (!path.starts_with('/')) return false;
  char before = 'x';
  for (const char c : path) {
    if (!kPlain[static_cast<uint8_t>(c)]) return false;
    if (before == '/' && (c == '/' || c == '.')) return false;  // Perhaps a dot segment.
    before = c;
  }
  return true;
}

}  // namespace sallyport
