#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport {

/// A glob over URL paths: `*` within a segment, `**` across segments ("/repos/**" includes "/repos").
class PathGlob {
 public:
  /// kInvalid unless PATTERN starts with '/'; "**" must be a whole segment.
  static Result<PathGlob> Parse(std::string_view pattern);
  /// PATH as a request spells it, without the query. Linear in its length for any pattern.
  bool Matches(std::string_view path) const;
  const std::string& text() const { return text_; }

 private:
  explicit PathGlob(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// The normalised form of PATH that servers may take it for: unreserved characters decoded, "%2e"
/// and dot segments resolved, "//" collapsed, "\\" and "%5c" as '/', a ";parameter" dropped.
/// "%2F" inside a segment stays, unless a dot segment hides behind it ("..%2Fadmin"). kInvalid for a
/// NUL, a broken escape, or overlong UTF-8.
Result<std::string> NormalizePath(std::string_view path);
/// Whether NormalizePath(PATH) is certainly PATH itself: true for nearly all paths of real requests,
/// and cheap.
bool IsPlainPath(std::string_view path);

}  // namespace sallyport
