#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport {

/// Changes a stream of bytes as it passes: bytes in, bytes out, no I/O. Its whole output does not
/// depend on how the input was cut. It holds back only what it can't settle yet.
class ByteFilter {
 public:
  ByteFilter() = default;
  ByteFilter(const ByteFilter&) = delete;
  ByteFilter& operator=(const ByteFilter&) = delete;
  virtual ~ByteFilter() = default;

  /// Appends to OUT what INPUT settles. An error (kInvalid: the input breaks its format; kLimit: it
  /// would grow beyond a bound) ends the stream: nothing may be fed after it, and what OUT holds of
  /// this call is not to be used. OUT may come to hold secrets: its owner wipes it.
  virtual Status Feed(std::string_view input, std::string& out) = 0;

  /// Feed() without a copy, where all that INPUT settles is a beginning of INPUT itself, unchanged:
  /// its size; whoever feeds passes that on from where it is. Nothing where that is not so, or not
  /// known before: INPUT was not taken, and is to be fed.
  virtual std::optional<size_t> Pass(std::string_view input) {
    (void)input;
    return std::nullopt;
  }

  /// There is no more input for now, and who sends it may wait for what is held back: appends what
  /// may go of that all the same. The whole output may then depend on where that was. Without an
  /// override all of it waits.
  virtual void Pause(std::string& out) { (void)out; }

  /// The input is complete: appends what was held back. Called at most once.
  virtual Status Finish(std::string& out) = 0;
};

}  // namespace sallyport
