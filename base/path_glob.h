#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport {

/// A glob over URL paths: `*` within a segment, `**` across segments ("/repos/**" includes "/repos").
class PathGlob {
 public:
  /// kInvalid unless PATTERN starts with '/'; "**" must be a whole segment. It may be spelled with
  /// escapes or in UTF-8; what is not its own normal form (NormalizePath) is refused, with what to write.
  static Result<PathGlob> Parse(std::string_view pattern);
  /// PATH as a request spells it, without the query: escapes of what is plain in a path, and the case of
  /// others, make no difference. Linear in its length for any pattern.
  bool Matches(std::string_view path) const;
  /// Whether every path that OTHER matches is matched by this one too. False also for some pairs of which
  /// that takes more than looking at one segment at a time.
  bool Covers(const PathGlob& other) const;
  /// In the spelling that paths are compared in.
  const std::string& text() const { return text_; }

 private:
  explicit PathGlob(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// The normalised form of PATH that servers may take it for: what is plain in a path decoded, all that
/// is not ASCII escaped, "%2e" and dot segments resolved, "//" collapsed, "\\" and "%5c" as '/', a ";parameter" dropped.
/// "%2F" inside a segment stays, unless a dot segment hides behind it ("..%2Fadmin"). kInvalid for a
/// NUL, a broken escape, or overlong UTF-8.
Result<std::string> NormalizePath(std::string_view path);
/// Whether NormalizePath(PATH) is certainly PATH itself: true for nearly all paths of real requests,
/// and cheap.
bool IsPlainPath(std::string_view path);

}  // namespace sallyport
