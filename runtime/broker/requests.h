#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

// What a warden asks of its broker; the bytes stand in messages.h.

namespace sallyport::runtime {

struct BrokerRequest {
  enum class Kind : uint8_t {
    kValue = 0,   ///< The value of `secret`, please.
    kAsk = 1,     ///< The question `id`, a JSON document in `bytes`, for all who are to be asked.
    kForget = 2,  ///< `id` was answered: nobody need answer it any more.
    kTelemetry = 3,  ///< Lines of the audit log in `bytes`; `id` others were left out before them.
    kFlush = 4,      ///< Send what there is of telemetry, within `id` milliseconds; then say so.
  };
  Kind kind = Kind::kValue;
  uint16_t secret = 0;
  uint64_t id = 0;  ///< Below 2^63.
  std::string bytes = {};

  /// A question has some 60 KiB at most: 4 KiB of a path and 4 KiB of a body, escaped, and the
  /// rest.
  static constexpr size_t kMaxBytes = size_t{128} * 1024;
  static constexpr size_t kHeadSize = 16;

  std::string Encode() const;
};

/// Takes requests out of a stream of bytes that arrives in pieces of any size.
class BrokerRequestReader {
 public:
  void Take(std::string_view bytes) { buffer_.append(bytes); }
  /// The next whole request, if there is one. kInvalid for what is none: the stream is of no more
  /// use. Until it gives nothing, no more is to be taken: then at most one request is held.
  Result<std::optional<BrokerRequest>> Next();

 private:
  std::string buffer_;
  size_t begin_ = 0;
};

}  // namespace sallyport::runtime
