#pragma once

#include <cstdint>

namespace sallyport {

/// Is told what a relayed flow carries, and says when it has carried enough.
class FlowMeter {
 public:
  virtual ~FlowMeter() = default;
  /// UP bytes came from the guest, and DOWN bytes for it, since the last call. False: the flow is
  /// to end now, on both sides.
  virtual bool Count(uint64_t up, uint64_t down) = 0;
};

}  // namespace sallyport
