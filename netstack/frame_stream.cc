#include "netstack/frame_stream.h"

#include <algorithm>

#include "netstack/byte_order.h"

namespace sallyport::netstack {

std::span<uint8_t> FrameStream::Room() {
  if (start_ > 0) {
    std::copy(bytes_.begin() + static_cast<ptrdiff_t>(start_),
              bytes_.begin() + static_cast<ptrdiff_t>(end_), bytes_.begin());
    end_ -= start_;
    start_ = 0;
  }
  return std::span(bytes_).subspan(end_);
}

size_t FrameStream::NextLength() const {
  return Load32(&bytes_[start_]);
}

bool FrameStream::pending() const {
  return !broken_ && end_ - start_ >= kPrefix && end_ - start_ - kPrefix >= NextLength();
}

std::optional<std::span<const uint8_t>> FrameStream::Next() {
  if (broken_ || end_ - start_ < kPrefix) return std::nullopt;
  const size_t length = NextLength();
  if (length == 0 || length > kMaxFrame) {
    broken_ = true;
    return std::nullopt;
  }
  if (!pending()) return std::nullopt;
  const auto frame = std::span<const uint8_t>(bytes_).subspan(start_ + kPrefix, length);
  start_ += kPrefix + length;
  return frame;
}

}  // namespace sallyport::netstack
