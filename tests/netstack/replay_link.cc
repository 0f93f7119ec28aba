#include "replay_link.h"

#include <algorithm>

namespace sallyport::netstack {
namespace {

bool IsFrom(const MacAddress& guest, const std::vector<uint8_t>& frame) {
  return frame.size() >= 12 && std::equal(guest.begin(), guest.end(), frame.begin() + 6);
}

}  // namespace

ReplayLink::ReplayLink(std::vector<CapturedFrame> frames, const MacAddress& guest) {
  for (CapturedFrame& frame : frames) {
    const bool known = frame.direction != CapturedFrame::Direction::kUnknown;
    const bool inbound =
        known ? frame.direction == CapturedFrame::Direction::kInbound : IsFrom(guest, frame.bytes);
    if (inbound) frames_.push_back(std::move(frame.bytes));
  }
}

Result<Loop::Handle> ReplayLink::Watch(Loop& loop, std::function<void()> on_readable) {
  loop_ = &loop;
  on_readable_ = std::move(on_readable);
  return loop.Post([this] { OnTurn(); });
}

void ReplayLink::OnTurn() {
  due_ = true;
  on_readable_();
  if (!frames_.empty()) turn_ = loop_->Post([this] { OnTurn(); });
}

Link::Received ReplayLink::Read(std::span<uint8_t> buffer) {
  if (frames_.empty() || !std::exchange(due_, false)) return {};
  const Bytes frame = std::move(frames_.front());
  frames_.pop_front();
  const size_t length = std::min({frame.size(), buffer.size(), kMaxFrame});
  std::copy_n(frame.begin(), length, buffer.begin());
  return {.kind = Received::Kind::kFrame, .length = length};
}

bool ReplayLink::Write(std::span<iovec> parts, const Offload&) {
  Bytes& frame = sent.emplace_back();
  for (const iovec& part : parts.subspan(1)) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    frame.insert(frame.end(), bytes, bytes + part.iov_len);
  }
  return true;
}

}  // namespace sallyport::netstack
