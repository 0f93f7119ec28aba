#include "netstack/stack_stats.h"

namespace sallyport::netstack {

std::string_view ToString(Drop reason) {
  switch (reason) {
    case Drop::kMalformed:
      return "malformed";
    case Drop::kSpoofed:
      return "spoofed";
    case Drop::kNotForUs:
      return "not_for_us";
    case Drop::kChecksum:
      return "checksum";
    case Drop::kHeaderOption:
      return "header_option";
    case Drop::kFragment:
      return "fragment";
    case Drop::kFlowLimit:
      return "flow_limit";
    case Drop::kFlowRate:
      return "flow_rate";
    case Drop::kMemoryLimit:
      return "memory_limit";
    case Drop::kTooLarge:
      return "too_large";
    case Drop::kLinkFull:
      return "link_full";
    case Drop::kSocketFull:
      return "socket_full";
    case Drop::kRateLimited:
      return "rate_limited";
  }
  return "unknown";
}

}  // namespace sallyport::netstack
