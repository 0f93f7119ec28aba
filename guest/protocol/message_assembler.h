#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guest/protocol/frame.h"

namespace sallyport::guest {

/// The longest message, all its frames together: argv and environment of a program as large as
/// Linux takes them by default (a quarter of 8 MiB of stack). One connection holds one at most.
constexpr size_t kMaxMessage = size_t{2} * 1024 * 1024;

/// Appends a control message of up to kMaxMessage bytes as one frame, or as several with kFlagMore.
/// kLimit, and nothing appended, if it is longer. CREDIT goes with the last frame.
Status AppendMessage(std::string& out, FrameType type, uint32_t stream, std::string_view payload,
                     uint32_t credit = 0);

/// Joins frames with kFlagMore to whole messages; gives all others through as they are. It takes
/// the frames of one direction of a connection, in order.
class MessageAssembler {
 public:
  /// The frame that is whole now, its payload up to kMaxMessage and its credit the sum; nothing
  /// while more must come. kInvalid for kFlagMore on a bulk frame and for a frame of another type
  /// or stream, or with kFlagEnd, within a message; kLimit for a message that is too long. The
  /// connection is of no use after an error.
  Result<std::optional<Frame>> Add(Frame frame);

 private:
  std::optional<Frame> partial_;
};

}  // namespace sallyport::guest
