#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "netstack/link.h"

namespace sallyport::netstack {

/// What a FaultyLink does to frames in each direction: one in so many is lost, is repeated, or is
/// overtaken by the next. 0 for never.
struct Faults {
  uint32_t lost = 0;
  uint32_t repeated = 0;
  uint32_t overtaken = 0;
};

/// Another link, made unreliable; which frames it hits follows from SEED alone.
class FaultyLink final : public Link {
 public:
  FaultyLink(std::unique_ptr<Link> link, const Faults& faults, uint32_t seed)
      : link_(std::move(link)), faults_(faults), random_(seed) {}

  bool has_offload() const override { return link_->has_offload(); }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    return link_->Watch(loop, std::move(on_readable));
  }
  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  struct Frame {
    std::vector<uint8_t> bytes;
    bool checksum_trusted = false;
    Offload offload;
  };

  bool Hits(uint32_t one_in) { return one_in != 0 && random_() % one_in == 0; }
  bool Put(Frame& frame);

  std::unique_ptr<Link> link_;
  const Faults faults_;
  std::minstd_rand random_;
  std::deque<Frame> arrived_;  // Behind the frame that overtook them, or once more.
  std::deque<Frame> held_;     // At most one, until the next frame has left.
};

}  // namespace sallyport::netstack
