#pragma once

#include <optional>
#include <string_view>

#include "mitm/message.h"

namespace sallyport::mitm::http2 {

/// Makes responses of the header blocks of one stream, field by field:
///
///     (Field* End -> kInterim)* Field* End -> kFinal (Field* End -> kTrailers)?
///
/// nghttp2 checks before what RFC 9113, 8.2 and 8.3 say of names, values and pseudo-fields; here
/// are the gate's own limits, and what a response means. Does no I/O.
class ResponseReader {
 public:
  enum class Block { kInterim, kFinal, kTrailers };
  enum class Stream { kGoesOn, kEnds };

  /// To a request with METHOD.
  void Begin(std::string_view method) { to_head_ = method == "HEAD"; }

  /// Why the response can't be taken, a sentence that shows nothing of it; null when it can.
  const char* Field(std::string_view name, std::string_view value);
  /// The block is complete; STREAM says whether anything follows it.
  Block End(Stream stream);

  /// After kInterim or kFinal. A final response whose stream ended with its head has a body of kind
  /// kNone, unless it says a length.
  Response& response() { return response_; }
  /// After kTrailers, cleaned of what may not stand there.
  Headers& trailers() { return trailers_; }

 private:
  const char* Status(std::string_view value);

  bool to_head_ = false;
  bool final_ = false;  // The next block is trailers.
  bool in_block_ = false;
  size_t bytes_ = 0;  // Of the block under way, as HPACK counts (RFC 7541, 4.1).
  size_t fields_ = 0;
  std::optional<uint64_t> content_length_;
  Response response_;
  Headers trailers_;
};

}  // namespace sallyport::mitm::http2
