#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "netstack/link.h"
#include "netstack/packet.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

/// Sends IP packets to the guest: puts the Ethernet header before them and counts what the link
/// does not take.
class Wire {
 public:
  static constexpr uint8_t kHopLimit = 64;

  Wire(Link& link, const StackOptions& options, StackStats& stats);

  bool has_offload() const { return link_.has_offload(); }
  unsigned mtu() const { return mtu_; }

  /// A frame to be: two parts are reserved for headers, the IP packet is what is added.
  class Parts {
   public:
    /// Whether there is room for one part only.
    bool nearly_full() const { return count_ == kMax - 1; }
    /// At most 62 parts.
    void Add(const void* bytes, size_t size) {
      parts_[count_++] = {const_cast<void*>(bytes), size};
    }

   private:
    friend class Wire;
    static constexpr size_t kMax = 64;
    std::array<iovec, kMax> parts_;
    size_t count_ = 2;
  };

  /// Sends the packet in PARTS. OFFLOAD is only looked at when the link has offload.
  void Send(EtherType type, Parts& parts, const Offload& offload = {});

  /// Sends DATA in a UDP datagram or an ICMP message with HEADER, whose checksum field lies at
  /// CHECKSUM_OFFSET and is filled in here; in fragments if it does not fit the MTU. Addresses have
  /// 4 or 16 bytes.
  void SendTransport(std::span<const uint8_t> source, std::span<const uint8_t> destination,
                     uint8_t protocol, std::span<uint8_t> header, size_t checksum_offset,
                     std::span<const uint8_t> data, uint8_t hop_limit = kHopLimit);

  /// Sends a packet that is no IP one.
  void SendArp(std::span<const uint8_t> packet);

 private:
  Link& link_;
  const unsigned mtu_;
  StackStats& stats_;
  std::array<uint8_t, 12> addresses_;  // Destination and source of every frame.
  uint32_t next_id_ = 0;

  void SendFragments(std::span<const uint8_t> ip_header, std::span<const uint8_t> header,
                     std::span<const uint8_t> data);
};

}  // namespace sallyport::netstack
