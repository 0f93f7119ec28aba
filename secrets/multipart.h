#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sallyport::secrets {

/// Tells the bodies of the parts of a multipart body (RFC 2046, 5.1) from all else: the boundary
/// lines, the parts' fields, what stands before the first and behind the last boundary. Lines end
/// with LF, with or without CR. A line that begins with "--BOUNDARY" is a boundary line, whatever
/// follows in it; the line break before it counts as the part's.
class MultipartReader {
 public:
  enum class Section { kPart, kElsewhere };

  /// Bytes that belong to one section. Two parts never follow each other without bytes between.
  struct Stretch {
    Section section = Section::kElsewhere;
    std::string_view bytes;  ///< Of the input or of the reader.
  };

  explicit MultipartReader(std::string_view boundary) : delimiter_("--" + std::string(boundary)) {}
  MultipartReader(const MultipartReader&) = delete;
  MultipartReader& operator=(const MultipartReader&) = delete;

  /// Takes the next stretch, which may be empty, off INPUT, which is not. Bytes that may begin a
  /// boundary line are kept, and come with a later stretch.
  Stretch Next(std::string_view& input);

  /// What was kept, when the input is complete.
  Stretch Finish();

 private:
  enum class State {
    kPreamble,
    kBoundaryLine,  ///< Behind the boundary, up to the end of its line.
    kFields,
    kPart,
    kEpilogue,
  };

  Stretch TakeLineStart(std::string_view& input);
  Stretch TakeBoundaryLine(std::string_view& input);
  Stretch TakeFields(std::string_view& input);
  Stretch TakeText(std::string_view& input);
  Section section() const { return state_ == State::kPart ? Section::kPart : Section::kElsewhere; }

  const std::string delimiter_;
  State state_ = State::kPreamble;
  bool line_start_ = true;  // The line that begins here, or has begun, may be a boundary line.
  size_t matched_ = 0;      // Meanwhile: so many bytes of the delimiter were kept.
  size_t dashes_ = 0;       // In kBoundaryLine: '-' that directly follow, up to the two that close.
  bool dashes_over_ = false;
  bool line_empty_ = true;  // In kFields: the line has had nothing but CR.
};

}  // namespace sallyport::secrets
