#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "base/dialer.h"
#include "netstack/flow_decider.h"
#include "netstack/packet.h"

namespace sallyport::netstack {

/// What tells flows of one transport apart, as the guest addresses them.
struct FlowKey {
  uint8_t source[16] = {};  // An IPv4 address in the first four bytes.
  uint8_t destination[16] = {};
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t v6 = 0;  // 0 or 1; this wide so that no byte of the key is padding.

  /// IP is a whole header at least.
  static FlowKey Of(std::span<const uint8_t> ip, bool v6, uint16_t source_port,
                    uint16_t destination_port) {
    FlowKey key;
    const size_t size = v6 ? 16 : 4;
    const size_t source = v6 ? 8 : 12;
    std::memcpy(key.source, &ip[source], size);
    std::memcpy(key.destination, &ip[source + size], size);
    key.source_port = source_port;
    key.destination_port = destination_port;
    key.v6 = v6 ? 1 : 0;
    return key;
  }
  static FlowKey Of(const Packet& packet, uint16_t source_port, uint16_t destination_port) {
    return Of(packet.whole, packet.v6, source_port, destination_port);
  }

  /// The key of the flow that PACKET, on its way to the guest, belongs to.
  static FlowKey Reply(const Packet& packet, uint16_t source_port, uint16_t destination_port) {
    FlowKey key = Of(packet, destination_port, source_port);
    std::swap(key.source, key.destination);
    return key;
  }

  std::span<const uint8_t> source_bytes() const { return {source, v6 ? 16u : 4u}; }
  std::span<const uint8_t> destination_bytes() const { return {destination, v6 ? 16u : 4u}; }
  FlowInfo Info(uint64_t id, Transport transport) const {
    return {.id = id,
            .transport = transport,
            .source = {ToIpAddress(source_bytes()), source_port},
            .destination = {ToIpAddress(destination_bytes()), destination_port}};
  }

  bool operator==(const FlowKey& other) const {
    return std::memcmp(this, &other, sizeof *this) == 0;
  }

  /// Spread by SEED, which the guest doesn't know: it can't choose keys that collide.
  uint64_t Hash(uint64_t seed) const {
    uint64_t words[sizeof(FlowKey) / 8];
    std::memcpy(words, this, sizeof *this);
    uint64_t hash = seed;
    for (const uint64_t word : words) hash = Mix(hash ^ word, seed | 1);
    return Mix(hash, 0x9e3779b97f4a7c15u);
  }

 private:
  // Both halves of the product: every bit of either factor moves every bit of the result.
  static uint64_t Mix(uint64_t a, uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{a} * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
};
static_assert(sizeof(FlowKey) == 40);

}  // namespace sallyport::netstack
