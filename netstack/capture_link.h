#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "netstack/capture.h"
#include "netstack/link.h"

namespace sallyport::netstack {

/// Another link, whose frames are captured as the stack sees them: with offload a frame may be a
/// large one that is yet to be cut, and its transport checksum may not be filled in. Frames that
/// the link did not take are in the capture too.
class CaptureLink final : public Link {
 public:
  /// CAPTURE outlives it.
  CaptureLink(std::unique_ptr<Link> link, Capture& capture)
      : link_(std::move(link)), capture_(capture) {}

  bool has_offload() const override { return link_->has_offload(); }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    return link_->Watch(loop, std::move(on_readable));
  }
  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  std::unique_ptr<Link> link_;
  Capture& capture_;
};

}  // namespace sallyport::netstack
