#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/loop.h"

// How long the host remembers what resolvers said.

namespace sallyport::runtime {

constexpr std::chrono::seconds kLeastTtl{1};     ///< Whatever less the answer says.
constexpr std::chrono::seconds kMostTtl{300};    ///< Whatever more the answer says.
constexpr std::chrono::seconds kNegativeTtl{2};  ///< Of failures: a guest's retries cost little.

/// Until when an answer with a TTL of so many SECONDS is good that came NOW.
inline Clock::time_point GoodUntil(uint32_t seconds, Clock::time_point now) {
  return now + std::clamp(std::chrono::seconds(seconds), kLeastTtl, kMostTtl);
}

}  // namespace sallyport::runtime
