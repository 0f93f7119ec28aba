#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mitm/content/coding.h"
#include "mitm/content/memory.h"

// Decoders are asked for output rather than given input: a few bytes of brotli are gigabytes of
// zeros, so a bound on the input bounds nothing.

namespace sallyport::mitm::content {

/// Takes one content coding off a stream. Its whole output does not depend on how the input was
/// cut, nor on MAX.
class CodingDecoder {
 public:
  CodingDecoder() = default;
  CodingDecoder(const CodingDecoder&) = delete;
  CodingDecoder& operator=(const CodingDecoder&) = delete;
  virtual ~CodingDecoder() = default;

  /// Takes what it can off INPUT and appends at most MAX bytes, more than none, to OUT. When fewer
  /// than MAX were appended, all of INPUT was taken and there is nothing more without further
  /// input. kInvalid: not this coding, or bytes behind its end; kLimit: it wants more memory than
  /// there is. Nothing may be asked after an error.
  virtual Status Decode(std::string_view& input, size_t max, std::string& out) = 0;

  /// Whether the input may end where it is: at the end of the coded body. A body without a byte
  /// is complete, too: servers label empty bodies.
  virtual bool complete() const = 0;
};

/// Several members one after the other are one body.
std::unique_ptr<CodingDecoder> MakeGzipDecoder(DecoderMemory& memory);
std::unique_ptr<CodingDecoder> MakeDeflateDecoder(DecoderMemory& memory);
/// Windows up to 16 MiB, all that RFC 7932 has. Decoding may go ahead of the output by a window.
std::unique_ptr<CodingDecoder> MakeBrotliDecoder(DecoderMemory& memory);
/// Windows up to 8 MiB (RFC 9659). Several frames are one body; no dictionaries, none of the
/// formats from before RFC 8878.
std::unique_ptr<CodingDecoder> MakeZstdDecoder(DecoderMemory& memory);

/// Takes all codings off a body.
class ContentDecoder {
 public:
  /// CODINGS in the order in which they were applied, at least one; MEMORY outlives it.
  ContentDecoder(const std::vector<Coding>& codings, DecoderMemory& memory);

  enum class Progress {
    kNeedsInput,  ///< All of INPUT was taken, and there is nothing more without further input.
    kMore,        ///< Ask again: OUT got MAX bytes, or one call's work was done.
  };
  /// Appends at most MAX bytes to OUT. One call handles at most kMaxDecoderWork bytes between two
  /// codings. Errors as CodingDecoder's, naming the coding.
  Result<Progress> Decode(std::string_view& input, size_t max, std::string& out);

  /// The input is complete, and Decode() said kNeedsInput: kInvalid when something is missing.
  Status Finish() const;

 private:
  struct Stage {
    Coding coding;
    std::unique_ptr<CodingDecoder> decoder;
    std::string input;  // From the stage before; what is used of it is taken off at its end.
    size_t used = 0;
  };

  Result<Progress> Run(size_t stage, std::string_view& input, size_t max, std::string& out);
  Status RunOne(Stage& stage, std::string_view& input, size_t max, std::string& out);

  std::vector<Stage> stages_;  // The coding that was applied last comes first.
  size_t work_ = 0;            // Of this call.
};

}  // namespace sallyport::mitm::content
