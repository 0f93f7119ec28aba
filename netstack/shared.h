#pragma once

#include <cstdint>

#include "base/loop.h"
#include "netstack/budget.h"
#include "netstack/flow_decider.h"
#include "netstack/icmp.h"
#include "netstack/rate_limit.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"
#include "netstack/wire.h"

namespace sallyport::netstack {

/// What the layers of a stack share.
struct Shared {
  Loop& loop;
  FlowDecider& decider;
  const StackOptions& options;
  StackStats& stats;
  Wire& wire;
  Icmp& icmp;
  Budget& budget;
  uint64_t seed;         // Of the hash tables.
  uint64_t next_id = 1;  // Of flows, of every transport.
  RateLimit new_flows{options.new_flows_per_second, options.new_flow_burst};
};

}  // namespace sallyport::netstack
