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

// PATH with unreserved characters decoded, escapes in upper case, and every backslash a slash.
Result<std::string> DecodeUnreserved(std::string_view path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string decoded;
  decoded.reserve(path.size());
  uint8_t previous = 0;
  for (size_t i = 0; i < path.size(); ++i) {
    auto byte = static_cast<uint8_t>(path[i]);
    const bool escaped = path[i] == '%';
    if (escaped) {
      const int high = i + 2 < path.size() ? HexValue(path[i + 1]) : -1;
      const int low = i + 2 < path.size() ? HexValue(path[i + 2]) : -1;
      if (high < 0 || low < 0) return Fail(Code::kInvalid, "the path has a broken % escape");
      byte = static_cast<uint8_t>(high << 4 | low);
      i += 2;
    }
    if (byte == 0) return Fail(Code::kInvalid, "the path has a NUL");
    if (IsOverlong(previous, byte)) return Fail(Code::kInvalid, "the path has overlong UTF-8");
    previous = byte;
    if (byte == '\\') {
      decoded += '/';
    } else if (!escaped || IsUnreserved(byte)) {
      decoded += static_cast<char>(byte);
    } else {
      decoded.append(1, '%').append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
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

}  // namespace

Result<PathGlob> PathGlob::Parse(std::string_view pattern) {
  if (!pattern.starts_with('/')) {
    return Fail(Code::kInvalid, "the path pattern '" + std::string(pattern) +
                                    "' must start with '/'; write '/" + std::string(pattern) + "'");
  }
  for (const char c : pattern) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '?' || c == '#') {
      return Fail(Code::kInvalid, "the path pattern '" + std::string(pattern) +
                                      "' has a character that no path has (a space, '?', '#' or "
                                      "a control character); escape it with %");
    }
  }
  for (size_t position = 1; position <= pattern.size();) {
    const Segment segment = SegmentAt(pattern, position);
    if (segment.text.find("**") != std::string_view::npos && segment.text != "**") {
      return Fail(Code::kInvalid, "in the path pattern '" + std::string(pattern) +
                                      "' a '**' must be a whole segment, as in '/repos/**'; use "
                                      "'*' within a segment");
    }
    position = segment.next;
  }
  return PathGlob(std::string(pattern));
}

bool PathGlob::Matches(std::string_view path) const {
  if (!path.starts_with('/')) return false;
  size_t p = 1;
  size_t s = 1;
  size_t stars = 0;  // Behind the last "**", and the segment that it gives back next.
  size_t stars_path = 0;
  while (s <= path.size()) {
    const Segment wanted = p <= text_.size() ? SegmentAt(text_, p) : Segment{{}, 0};
    if (wanted.next != 0 && wanted.text == "**") {
      p = stars = wanted.next;
      stars_path = s;
      continue;
    }
    const Segment here = SegmentAt(path, s);
    if (wanted.next != 0 && SegmentMatches(wanted.text, here.text)) {
      p = wanted.next;
      s = here.next;
    } else if (stars != 0) {
      s = stars_path = SegmentAt(path, stars_path).next;
      p = stars;
    } else {
      return false;
    }
  }
  while (p <= text_.size() && SegmentAt(text_, p).text == "**") p = SegmentAt(text_, p).next;
  return p > text_.size();
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
