#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/result.h"
#include "guest/protocol/frame.h"

namespace sallyport::guest {

/// How many bulk bytes may still be sent on one stream in one direction.
class SendCredit {
 public:
  /// More than anyone has a use for; keeps a hostile peer's sums from wrapping around.
  static constexpr uint32_t kMax = 1u << 30;

  uint32_t available() const { return available_; }

  /// BYTES, at most available(), are on their way.
  void Spend(size_t bytes) {
    SALLYPORT_CHECK(bytes <= available_);
    available_ -= static_cast<uint32_t>(bytes);
  }

  /// The credit of a frame that came in. kInvalid if that makes more than kMax.
  Status Grant(uint32_t bytes) {
    if (bytes > kMax - available_) return Fail(Code::kInvalid, "more credit than the limit");
    available_ += bytes;
    return {};
  }

 private:
  uint32_t available_ = kInitialCredit;
};

/// The receiving side of the same: holds the peer to its credit, and says when to grant more. Bytes
/// received but not consumed are never more than kInitialCredit: that bounds the buffer for them.
class ReceiveCredit {
 public:
  /// BYTES came in. kInvalid if the peer had no credit for them.
  Status OnReceived(size_t bytes) {
    if (bytes > open_) return Fail(Code::kInvalid, "more bytes than there was credit for");
    open_ -= static_cast<uint32_t>(bytes);
    return {};
  }

  /// BYTES of those received have left the buffer. Returns what to put into the credit field of a
  /// frame now: 0 until a quarter of the window has gathered, so that not every read costs a frame.
  uint32_t OnConsumed(size_t bytes) {
    owed_ += static_cast<uint32_t>(std::min<size_t>(bytes, kInitialCredit - open_ - owed_));
    if (owed_ < kInitialCredit / 4) return 0;
    const uint32_t grant = owed_;
    open_ += grant;
    owed_ = 0;
    return grant;
  }

 private:
  uint32_t open_ = kInitialCredit;  // Granted and not used.
  uint32_t owed_ = 0;  // Consumed and not granted again; open_ + owed_ <= kInitialCredit.
};

}  // namespace sallyport::guest
