#include "guest/protocol/message_assembler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace sallyport::guest {
namespace {

uint32_t SaturatedSum(uint32_t a, uint32_t b) {
  return b > std::numeric_limits<uint32_t>::max() - a ? std::numeric_limits<uint32_t>::max()
                                                      : a + b;
}

}  // namespace

Status AppendMessage(std::string& out, FrameType type, uint32_t stream, std::string_view payload,
                     uint32_t credit) {
  SALLYPORT_CHECK(!IsBulk(type));
  if (payload.size() > kMaxMessage) return Fail(Code::kLimit, "a message over 2 MiB");
  while (payload.size() > kMaxPayload) {
    AppendFrame(out, type, stream, payload.substr(0, kMaxPayload), kFlagMore);
    payload.remove_prefix(kMaxPayload);
  }
  AppendFrame(out, type, stream, payload, 0, credit);
  return {};
}

Result<std::optional<Frame>> MessageAssembler::Add(Frame frame) {
  if (!partial_ && !frame.more()) return std::optional<Frame>(std::move(frame));
  if (IsBulk(frame.type) || frame.end()) {
    return Fail(Code::kInvalid, "a bulk frame or an end within a message");
  }
  if (!partial_) {
    partial_ = std::move(frame);
    return std::nullopt;
  }
  if (frame.type != partial_->type || frame.stream != partial_->stream) {
    return Fail(Code::kInvalid, "another frame within a message");
  }
  if (frame.payload.size() > kMaxMessage - partial_->payload.size()) {
    return Fail(Code::kLimit, "a message over 2 MiB");
  }
  partial_->payload.append(frame.payload);
  partial_->credit = SaturatedSum(partial_->credit, frame.credit);
  if (frame.more()) return std::nullopt;
  partial_->flags = 0;
  return std::exchange(partial_, std::nullopt);
}

}  // namespace sallyport::guest
