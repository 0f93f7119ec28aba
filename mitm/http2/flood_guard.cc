#include "mitm/http2/flood_guard.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <chrono>

namespace sallyport::mitm::http2 {
namespace {

struct Limit {
  double burst;
  double per_second;
  const char* name;
};

// In the order of Kind. Far above what clients do: a browser that leaves a page resets its streams
// once, gRPC pings every few seconds, Firefox sends six PRIORITY frames; the most eager clients
// send two window updates for each piece of data. Far below what a core notices.
constexpr Limit kLimits[] = {
    {300, 30, "too many requests were cancelled (RST_STREAM)"},
    {32, 2, "too many SETTINGS frames"},
    {100, 10, "too many PING frames"},
    {200, 20, "too many PRIORITY frames"},
    {100, 10, "too many frames without content"},
    {2000, 400, "too many WINDOW_UPDATE frames for what they let through"},
};

}  // namespace

FloodGuard::FloodGuard(Clock::time_point now) {
  for (size_t kind = 0; kind < kKinds; ++kind) allowances_[kind] = {kLimits[kind].burst, now};
}

bool FloodGuard::OnFrame(uint8_t type, uint8_t flags, size_t length, Clock::time_point now) {
  switch (type) {
    case NGHTTP2_DATA:
      return length > 0 || (flags & NGHTTP2_FLAG_END_STREAM) != 0 || Spend(kEmpty, now);
    case NGHTTP2_HEADERS:
      return length > 0 || Spend(kEmpty, now);
    case NGHTTP2_CONTINUATION:  // nghttp2 counts those of one head.
      return length > 0 || Spend(kEmpty, now);
    case NGHTTP2_RST_STREAM:
      return Spend(kReset, now);
    case NGHTTP2_SETTINGS:
      return Spend(kSettings, now);
    case NGHTTP2_PING:
      return Spend(kPing, now);
    case NGHTTP2_PRIORITY:
      return Spend(kPriority, now);
    case NGHTTP2_WINDOW_UPDATE:
      return Spend(kWindow, now);
    default:
      return true;
  }
}

bool FloodGuard::OnPadding(Clock::time_point now) {
  return Spend(kEmpty, now);
}

void FloodGuard::OnDataSent(size_t bytes) {
  double& left = allowances_[kWindow].left;
  left = std::min(left + static_cast<double>(bytes) / 1024, kLimits[kWindow].burst);
}

bool FloodGuard::Spend(Kind kind, Clock::time_point now) {
  Allowance& allowance = allowances_[kind];
  const Limit& limit = kLimits[kind];
  const double seconds = std::chrono::duration<double>(now - allowance.at).count();
  allowance.at = now;
  allowance.left = std::min(allowance.left + seconds * limit.per_second, limit.burst);
  if (allowance.left < 1) {
    detail_ = limit.name;
    return false;
  }
  allowance.left -= 1;
  return true;
}

}  // namespace sallyport::mitm::http2
