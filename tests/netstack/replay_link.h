#pragma once

#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "capture_reader.h"
#include "netstack/link.h"
#include "netstack/stack_options.h"

namespace sallyport::netstack {

/// A link whose guest sends again what it sent in a capture, one frame a turn so that verdicts come
/// between, and hears nothing. Timestamps don't count. It has no offload, and vouches for no
/// checksum.
class ReplayLink final : public Link {
 public:
  using Bytes = std::vector<uint8_t>;

  /// The guest's frames of FRAMES are the inbound ones, or where that is not known those whose
  /// source is GUEST.
  ReplayLink(std::vector<CapturedFrame> frames, const MacAddress& guest);

  /// Frames that are still to be sent.
  size_t left() const { return frames_.size(); }
  /// What the stack has sent, oldest first.
  std::vector<Bytes> sent;

  bool has_offload() const override { return false; }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override;
  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  void OnTurn();

  std::deque<Bytes> frames_;
  bool due_ = false;  // One, in this turn.
  Loop* loop_ = nullptr;
  std::function<void()> on_readable_;
  Loop::Handle turn_;
};

}  // namespace sallyport::netstack
