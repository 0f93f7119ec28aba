#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sallyport::netstack {

/// The Internet checksum (RFC 1071), gathered piece by piece.
class Checksum {
 public:
  /// Adds BYTES. A piece of odd length must be the last one.
  void Add(std::span<const uint8_t> bytes);
  /// Adds a number that stands in network order in what is summed.
  void Add16(uint16_t value) { sum_ += value; }
  /// Adds the pseudo-header of TCP, UDP or ICMPv6. SOURCE and DESTINATION have 4 or 16 bytes.
  void AddPseudoHeader(std::span<const uint8_t> source, std::span<const uint8_t> destination,
                       uint8_t protocol, size_t length);

  /// The sum itself, as a link that finishes the checksum wants to find it.
  uint16_t Partial() const;
  /// The checksum; 0 when what was added includes a right one.
  uint16_t Finish() const { return static_cast<uint16_t>(~Partial()); }

 private:
  uint64_t sum_ = 0;
};

}  // namespace sallyport::netstack
