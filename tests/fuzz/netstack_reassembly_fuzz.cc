// Puts fragments together; what comes of them is a right packet that holds the last one.
//
// Input: fragments of five bytes each: bit 0 IPv6, bits 1 and 2 the id, bit 3 more follow; the
// offset, in eights; the size; what its bytes are; how many seconds go by before it.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/check.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/reassembly.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kStep = 5;

/// A packet with such a fragment.
std::vector<uint8_t> MakeFragment(std::span<const uint8_t, kStep> step) {
  const bool v6 = (step[0] & 1) != 0;
  const bool more = (step[0] & 8) != 0;
  const uint8_t id = step[0] >> 1 & 3;
  const std::vector<uint8_t> bytes(step[2], step[3]);
  std::vector<uint8_t> packet(v6 ? kIpv6Header + kFragmentHeaderSize : kIpv4Header);
  if (v6) {
    packet[0] = 0x60;
    Store16(&packet[4], kFragmentHeaderSize + bytes.size());
    packet[6] = kProtocolFragment;
    packet[kIpv6Header] = kProtocolUdp;
    Store16(&packet[kIpv6Header + 2], size_t{8} * step[1] | (more ? 1 : 0));
    packet[kIpv6Header + 7] = id;
  } else {
    packet[0] = 0x45;
    Store16(&packet[2], packet.size() + bytes.size());
    packet[5] = id;
    Store16(&packet[6], step[1] | (more ? 0x2000 : 0));
    packet[9] = kProtocolUdp;
    Checksum checksum;
    checksum.Add(packet);
    Store16(&packet[10], checksum.Finish());
  }
  packet.insert(packet.end(), bytes.begin(), bytes.end());
  return packet;
}

void Run(std::span<const uint8_t> input) {
  Reassembly reassembly;
  Clock::time_point now{std::chrono::hours(1)};
  for (; input.size() >= kStep; input = input.subspan(kStep)) {
    const auto step = input.first<kStep>();
    now += std::chrono::seconds(step[4]);
    reassembly.Expire(now);
    auto packet = MakeFragment(step);
    const auto type = (step[0] & 1) != 0 ? EtherType::kIpv6 : EtherType::kIpv4;
    const auto parsed = ParseIp(type, packet);
    const auto* fragment = std::get_if<Packet>(&parsed);
    SALLYPORT_CHECK(fragment != nullptr);
    if (!fragment->fragment) continue;
    const auto added = reassembly.Add(*fragment, now);
    SALLYPORT_CHECK(reassembly.size() <= Reassembly::kMaxDatagrams);
    const auto* whole = std::get_if<std::span<uint8_t>>(&added);
    if (whole == nullptr || whole->empty()) continue;
    const auto again = ParseIp(type, *whole);
    const auto* joined = std::get_if<Packet>(&again);
    SALLYPORT_CHECK(joined != nullptr && !joined->fragment);
    SALLYPORT_CHECK(joined->whole.size() == whole->size());
    // The part that was the last one missing is in its place.
    const auto part = joined->payload.subspan(fragment->part.offset, fragment->payload.size());
    SALLYPORT_CHECK(std::ranges::equal(part, fragment->payload));
  }
}

}  // namespace
}  // namespace sallyport::netstack

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sallyport::netstack::Run({data, size});
  return 0;
}
