#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "netstack/link.h"

namespace sallyport::netstack {

/// Finds frames in a byte stream, as QEMU's `-netdev stream` writes them: each behind its length, a
/// number of four bytes in network order. Does no I/O. The other end may be a hostile one.
class FrameStream {
 public:
  static constexpr size_t kPrefix = 4;
  /// What is kept at most: a whole frame, and as much again, so that a read brings many small ones.
  static constexpr size_t kCapacity = 2 * (kPrefix + kMaxFrame);

  FrameStream() : bytes_(kCapacity) {}

  /// Where the next bytes of the stream belong. Not empty unless a whole frame waits.
  std::span<uint8_t> Room();
  /// COUNT bytes were put there.
  void Filled(size_t count) { end_ += count; }

  /// The next frame, if all of it is there; good until the next Room().
  std::optional<std::span<const uint8_t>> Next();
  /// Whether Next() would have one.
  bool pending() const;
  /// A length that no frame has was read: where the next frame would begin, nobody knows. Next()
  /// has none from then on.
  bool broken() const { return broken_; }

 private:
  size_t NextLength() const;

  std::vector<uint8_t> bytes_;
  size_t start_ = 0;  // Of what was not handed out yet,
  size_t end_ = 0;    // and behind it.
  bool broken_ = false;
};

}  // namespace sallyport::netstack
