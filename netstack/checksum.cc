#include "netstack/checksum.h"

#include <bit>
#include <cstring>

namespace sallyport::netstack {
namespace {

// The sum is the same in either byte order but for a final swap, so words are added as they lie in
// memory and only the result is turned.
uint64_t InNetworkOrder(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  if constexpr (std::endian::native == std::endian::little) {
    sum = (sum & 0xff) << 8 | sum >> 8;
  }
  return sum;
}

}  // namespace

void Checksum::Add(std::span<const uint8_t> bytes) {
  // 32 bits at a time into 64: no carry can be lost for any length that memory holds.
  uint64_t words = 0;
  size_t at = 0;
  for (; at + 4 <= bytes.size(); at += 4) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + at, 4);
    words += word;
  }
  uint8_t rest[4] = {};
  if (at < bytes.size()) std::memcpy(rest, bytes.data() + at, bytes.size() - at);
  uint32_t word;
  std::memcpy(&word, rest, 4);
  sum_ += InNetworkOrder(words + word);
}

void Checksum::AddPseudoHeader(std::span<const uint8_t> source,
                               std::span<const uint8_t> destination, uint8_t protocol,
                               size_t length) {
  Add(source);
  Add(destination);
  sum_ += protocol;
  sum_ += length;
}

uint16_t Checksum::Partial() const {
  uint64_t sum = sum_;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

}  // namespace sallyport::netstack
