#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport::netstack {

/// One frame of a capture.
struct CapturedFrame {
  enum class Direction { kUnknown, kInbound, kOutbound };
  uint64_t time_ns = 0;
  Direction direction = Direction::kUnknown;
  std::vector<uint8_t> bytes;
  std::string comment;
};

/// What stands in a capture of an Ethernet link: pcap, with microseconds or nanoseconds, or pcapng,
/// of either byte order. CAPTURE may be a hostile one: kInvalid where it breaks its format. Blocks
/// of other kinds and interfaces of other links are passed over.
Result<std::vector<CapturedFrame>> ReadCapture(std::span<const uint8_t> capture);

}  // namespace sallyport::netstack
