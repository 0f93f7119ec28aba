#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/loop.h"

namespace sallyport::mitm::http2 {

/// Tells a guest that uses HTTP/2 from one that keeps the gate busy with frames that cost it
/// nothing: rapid resets (CVE-2023-44487), floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE and
/// empty frames (CVE-2019-9511 to 9518). Frames of unknown types are not seen here: nghttp2 skips
/// them, and they cost no more than their bytes.
///
/// Each kind has an allowance that is spent by a frame and comes back with time. Window updates are
/// paid for by data that was sent, too: one for each KiB.
class FloodGuard {
 public:
  explicit FloodGuard(Clock::time_point now);

  /// Counts a frame's header, as received at NOW; false when that is one too many.
  bool OnFrame(uint8_t type, uint8_t flags, size_t length, Clock::time_point now);
  /// A DATA frame that turned out to hold nothing but padding.
  bool OnPadding(Clock::time_point now);
  void OnDataSent(size_t bytes);

  /// After false: what there were too many of.
  const char* detail() const { return detail_; }

 private:
  enum Kind { kReset, kSettings, kPing, kPriority, kEmpty, kWindow, kKinds };
  struct Allowance {
    double left;
    Clock::time_point at;
  };
  bool Spend(Kind kind, Clock::time_point now);

  std::array<Allowance, kKinds> allowances_;
  const char* detail_ = "";
};

}  // namespace sallyport::mitm::http2
