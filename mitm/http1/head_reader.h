#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/http_message.h"
#include "mitm/message.h"

namespace sallyport::mitm::http1 {

/// A head as its bytes say, checked for syntax and nothing else: all fields are still there.
struct RawHead {
  std::string method;  ///< Requests.
  std::string target;  ///< Requests: the request target as spelled.
  int status = 0;      ///< Responses.
  std::string reason;  ///< Responses.
  int minor_version = 1;
  Headers headers;
};

/// Reads one head after another from bytes that arrive in pieces of any size.
///
/// Lines are told apart here, before llhttp sees them, so that what llhttp is lenient about never
/// reaches it: every line ends with CR LF, no other CR, LF or NUL stands in a head, and no line
/// starts with white space (obs-fold).
class HeadReader {
 public:
  enum class Kind { kRequest, kResponse };
  enum class Outcome { kMore, kHead, kError };

  explicit HeadReader(Kind kind) : kind_(kind) {}

  /// Takes what belongs to the head off INPUT. After kHead, head() holds it and the next call
  /// begins another one; after kError nothing more can be read.
  Outcome Feed(std::string_view& input);

  RawHead& head() { return head_; }
  const ProtocolError& error() const { return error_; }
  /// Whether a byte of the next head has been seen.
  bool begun() const { return seen_ > 0; }

 private:
  std::optional<size_t> FindEnd(std::string_view bytes);
  bool CheckLineStart(char first);
  bool CheckLinePart(std::string_view part);
  bool CheckStartLine(std::string_view bytes);
  bool EndLine();
  Outcome Parse(std::string_view bytes);
  bool Check();
  Outcome Fail(int status, std::string detail);
  void Restart();

  const Kind kind_;
  std::string partial_;  // The head's bytes so far, when it came in several pieces.
  size_t seen_ = 0;      // Bytes of the head.
  size_t lines_ = 0;     // Complete lines, without leading empty ones.
  size_t blank_ = 0;     // Leading empty lines.
  size_t line_ = 0;      // Bytes of the current line, without its CR.
  bool cr_ = false;      // The latest byte was a CR.
  RawHead head_;
  ProtocolError error_;
  bool failed_ = false;
};

}  // namespace sallyport::mitm::http1
