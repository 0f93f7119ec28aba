#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "netstack/link.h"

namespace sallyport::netstack {

/// A link with no device behind it: tests and fuzzers are the guest's end. It has no offload, so
/// every frame that comes out is complete and fits the MTU.
class MemoryLink final : public Link {
 public:
  using Bytes = std::vector<uint8_t>;

  static Result<std::unique_ptr<MemoryLink>> Create();

  /// Has the guest send FRAME; the stack reads it in the loop's next turn.
  void Push(std::span<const uint8_t> frame);
  /// Frames that the stack has sent, oldest first.
  std::deque<Bytes>& sent() { return sent_; }
  /// While set, the link takes no frames.
  void set_full(bool full) { full_ = full; }
  /// The guest's end goes away.
  void Disappear();

  bool has_offload() const override { return false; }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override;
  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  explicit MemoryLink(UniqueFd event) : event_(std::move(event)) {}
  void Wake();

  UniqueFd event_;  // Readable while something waits.
  std::deque<Bytes> waiting_;
  std::deque<Bytes> sent_;
  bool full_ = false;
  bool gone_ = false;
};

}  // namespace sallyport::netstack
