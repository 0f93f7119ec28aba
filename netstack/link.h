#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/loop.h"
#include "base/result.h"

namespace sallyport::netstack {

/// The largest Ethernet frame a link carries: with segmentation offload, 65,535 bytes of IP.
constexpr size_t kMaxFrame = 14 + 65535;

/// What a link with offload is to do to a frame on its way out. Offsets count from the Ethernet
/// header on.
struct Offload {
  bool finish_checksum = false;  ///< The checksum field holds the pseudo-header's sum.
  uint16_t checksum_start = 0;   ///< Where summing starts.
  uint16_t checksum_offset = 0;  ///< Of the field, from there.
  bool ipv6 = false;
  uint16_t segment_size = 0;   ///< Cut the TCP payload into such pieces; 0 for no cutting.
  uint16_t header_length = 0;  ///< Of all headers before the payload; only for cutting.
};

/// Ethernet frames to and from one guest. Frames are whole or not there at all.
class Link {
 public:
  struct Received {
    enum class Kind {
      kFrame,
      kNothing,  ///< No frame is waiting.
      kGone,     ///< None will ever come again.
    };
    Kind kind = Kind::kNothing;
    size_t length = 0;
    /// The sender's kernel vouches for the transport checksum, which may not be filled in yet.
    bool checksum_trusted = false;
  };

  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  /// Whether Write() acts on its Offload; if not, frames must be complete and fit the MTU.
  virtual bool has_offload() const = 0;

  /// Calls ON_READABLE in each turn of LOOP in which frames are waiting.
  virtual Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) = 0;

  /// Stores the next frame in BUFFER, of kMaxFrame bytes at least. A frame that was cut short is
  /// passed over.
  virtual Received Read(std::span<uint8_t> buffer) = 0;

  /// Sends one frame. PARTS[0] belongs to the link, for a header of its own; the frame is what
  /// follows. False when the frame was not taken: it is lost.
  virtual bool Write(std::span<iovec> parts, const Offload& offload) = 0;
};

}  // namespace sallyport::netstack
