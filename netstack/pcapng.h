#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sallyport::netstack {

/// Blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian: what Wireshark, tshark and
/// tcpdump read. Does no I/O.

/// What stands at the front: a section's header, and one Ethernet interface whose timestamps count
/// nanoseconds and whose frames are never cut short.
struct PcapngInterface {
  std::string_view application;  ///< Who captures.
  std::string_view name;
  std::string_view description;
};
void AppendPcapngHeader(std::string& out, const PcapngInterface& interface);

/// The values of epb_flags, seen from the interface.
enum class PcapngDirection : uint32_t { kInbound = 1, kOutbound = 2 };

struct PcapngFrame {
  uint64_t time_ns = 0;  ///< Since 1970, UTC.
  PcapngDirection direction = PcapngDirection::kInbound;
  std::span<const uint8_t> bytes;
  std::string_view comment;  ///< UTF-8; none if empty. What is past 4,096 bytes is left out.
};
void AppendPcapngFrame(std::string& out, const PcapngFrame& frame);

}  // namespace sallyport::netstack
