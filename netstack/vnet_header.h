#pragma once

#include <cstdint>

namespace sallyport::netstack {

/// The header of virtio-net (linux/virtio_net.h, which C++ can't include for a member named
/// `class`), as the kernel puts it before each frame: 12 bytes on a TAP, the first 10 on a packet
/// socket. In the machine's byte order.
struct VnetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kDataValid = 2;
  static constexpr uint8_t kGsoNone = 0;
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoUdp = 5;  // Datagrams of gso_size bytes each; Linux 6.2.

  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t header_length = 0;
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
  uint16_t buffers = 0;
};
static_assert(sizeof(VnetHeader) == 12);

}  // namespace sallyport::netstack
