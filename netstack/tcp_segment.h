#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "netstack/packet.h"

namespace sallyport::netstack {

/// A view of a TCP segment whose lengths are known to be right.
struct TcpSegment {
  static constexpr uint8_t kFin = 0x01;
  static constexpr uint8_t kSyn = 0x02;
  static constexpr uint8_t kRst = 0x04;
  static constexpr uint8_t kPsh = 0x08;
  static constexpr uint8_t kAck = 0x10;
  static constexpr size_t kMinHeader = 20;
  static constexpr size_t kMaxHeader = 60;

  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  std::span<uint8_t> header;  ///< Options included.
  size_t payload = 0;         ///< Bytes behind the header.

  bool has(uint8_t flag) const { return (header[13] & flag) != 0; }
  std::span<uint8_t> whole() const { return {header.data(), header.size() + payload}; }
  /// What the segment takes of the sequence space.
  uint32_t length() const {
    return static_cast<uint32_t>(payload) + (has(kSyn) ? 1 : 0) + (has(kFin) ? 1 : 0);
  }

  /// Shortens the payload to its first SIZE bytes, and drops a FIN behind them.
  void Cut(size_t size);
};

/// Reads the segment in PACKET. Nothing when lengths are wrong, an option's included, a port is
/// zero, or the flags are ones that no guest of ours has a reason to send: SYN with FIN, RST or
/// ACK.
std::optional<TcpSegment> ParseTcp(const Packet& packet);

}  // namespace sallyport::netstack
