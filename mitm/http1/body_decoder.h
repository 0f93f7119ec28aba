#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/http_message.h"

namespace sallyport::mitm::http1 {

/// Takes one body out of its framing. Chunked coding is read strictly: a size is 1 to 15 hex
/// digits, each line ends with CR LF, the data of a chunk is followed by CR LF and nothing else.
/// Extensions are checked and dropped; trailers are read as fields.
class BodyDecoder {
 public:
  enum class Framing { kNone, kLength, kChunked, kUntilClose };
  struct Step {
    enum class Kind { kMore, kPiece, kEnd, kError };
    Kind kind = Kind::kMore;
    std::string_view piece;
  };

  /// Begins a body; LENGTH is for kLength.
  void Start(Framing framing, uint64_t length);

  /// Takes what it settles off INPUT. A piece is a part of INPUT of at most MAX bytes. kEnd is
  /// reported once; nothing may be asked after it, or after kError.
  Step Next(std::string_view& input, size_t max);

  /// Whether the end of the connection ends this body properly.
  bool ends_with_connection() const { return framing_ == Framing::kUntilClose; }

  /// After kEnd of a chunked body.
  Headers& trailers() { return trailers_; }
  const Headers& trailers() const { return trailers_; }
  /// After kError: one sentence.
  const char* error() const { return error_; }

 private:
  enum class State { kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf, kTrailers };

  Step Data(std::string_view& input, size_t max);
  bool ChunkByte(char byte);
  bool SizeByte(char byte);
  bool ExtensionByte(char byte);
  Step Trailers(std::string_view& input);
  bool ParseTrailers();
  bool Fail(const char* error);

  Framing framing_ = Framing::kNone;
  State state_ = State::kSize;
  uint64_t left_ = 0;     // Of the body, or of the chunk.
  size_t digits_ = 0;     // Of the chunk's size.
  size_t extension_ = 0;  // Bytes of the chunk's extension.
  std::string trailer_bytes_;
  Headers trailers_;
  const char* error_ = "";
};

}  // namespace sallyport::mitm::http1
