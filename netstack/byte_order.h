#pragma once

#include <cstddef>
#include <cstdint>

namespace sallyport::netstack {

// Numbers in network order, at any alignment.

inline uint16_t Load16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}

inline uint32_t Load32(const uint8_t* at) {
  return uint32_t{Load16(at)} << 16 | Load16(at + 2);
}

inline void Store16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

inline void Store32(uint8_t* at, uint32_t value) {
  Store16(at, value >> 16);
  Store16(at + 2, value);
}

}  // namespace sallyport::netstack
