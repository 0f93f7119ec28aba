#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sallyport::netstack {

/// Does what a network card with UDP segmentation offload does: a frame in which a kernel left
/// several datagrams of one flow together (UDP_SEGMENT, as clients of QUIC use it) becomes frames
/// with one each. Does no I/O. The frame may be a hostile one.
class DatagramCutter {
 public:
  /// Takes a copy of FRAME, an Ethernet frame, if that is a UDP datagram with more than PIECE bytes
  /// of payload, and says whether it is. What was left of an earlier frame is dropped.
  bool Start(std::span<const uint8_t> frame, size_t piece);
  /// Whether Next() has a frame to give.
  bool pending() const { return at_ < frame_.size(); }
  /// Stores the next frame in BUFFER, as large as the whole one at least, and returns its size. Its
  /// UDP checksum is not right: what a kernel leaves to a card to cut has none yet.
  size_t Next(std::span<uint8_t> buffer);

 private:
  std::vector<uint8_t> frame_;
  size_t headers_ = 0;  // All of them, UDP's included.
  size_t piece_ = 0;
  size_t at_ = 0;  // Of the next piece of payload.
};

}  // namespace sallyport::netstack
