#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sallyport::netstack {

/// Why something was dropped rather than answered or relayed.
enum class Drop {
  kMalformed,     ///< Lengths, versions or flags that contradict each other.
  kSpoofed,       ///< A source that is not the guest's.
  kNotForUs,      ///< Another station's frame, multicast, or an unknown protocol of the link.
  kChecksum,      ///< A wrong checksum.
  kHeaderOption,  ///< IPv4 options, or IPv6 extension headers but one Fragment header.
  kFragment,      ///< Fragments that overlap, never became whole, are too many, or are TCP's.
  kFlowLimit,     ///< A limit on the number of flows.
  kFlowRate,      ///< More new flows in a second than StackOptions says.
  kMemoryLimit,   ///< StackOptions::max_buffered_bytes, or a queue's own bound.
  kTooLarge,      ///< A datagram that no IP packet can hold, or a ping with a tunnel's payload.
  kLinkFull,      ///< The link did not take a frame.
  kSocketFull,    ///< A host's socket did not take a datagram.
  kRateLimited,   ///< An ICMP error that was not sent, or a ping too many.
};
constexpr size_t kDropReasons = static_cast<size_t>(Drop::kRateLimited) + 1;
/// "malformed", "spoofed", ...
std::string_view ToString(Drop reason);

/// What a stack has done so far.
struct StackStats {
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;
  uint64_t tcp_decided = 0;  ///< SYNs that were asked about.
  uint64_t tcp_refused = 0;  ///< Denied or failed before they were open.
  uint64_t udp_decided = 0;
  uint64_t udp_refused = 0;
  uint64_t bytes_from_guest = 0;  ///< Payload of all flows.
  uint64_t bytes_to_guest = 0;
  uint64_t echo_decided = 0;
  uint64_t echo_refused = 0;
  size_t tcp_flows = 0;       ///< Now.
  size_t udp_flows = 0;       ///< Now, remembered refusals included.
  size_t echo_flows = 0;      ///< Now, likewise.
  size_t buffered_bytes = 0;  ///< Now.
  bool link_failed = false;   ///< The link reported that it is gone.
  std::array<uint64_t, kDropReasons> drops{};

  uint64_t dropped(Drop reason) const { return drops[static_cast<size_t>(reason)]; }
  void Count(Drop reason) { ++drops[static_cast<size_t>(reason)]; }
};

}  // namespace sallyport::netstack
