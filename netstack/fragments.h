#pragma once

#include <cstdint>
#include <span>

#include "base/loop.h"
#include "netstack/packet.h"
#include "netstack/reassembly.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

/// The guest's fragments: which may be put together, and for how long. Those of UDP and ICMP; TCP
/// never fragments, since its segments fit the MTU, and neighbour discovery must not (RFC 6980).
class Fragments {
 public:
  Fragments(Loop& loop, const StackOptions& options, StackStats& stats)
      : loop_(loop), options_(options), stats_(stats) {}

  /// Takes a fragment. Returns the whole IP packet if this was the last missing part, else nothing;
  /// good until the next call.
  std::span<uint8_t> Add(const Packet& fragment);

 private:
  void Expire();
  void SetTimer();

  Loop& loop_;
  const StackOptions& options_;
  StackStats& stats_;
  Reassembly reassembly_;
  bool timer_set_ = false;
  Loop::Handle timer_;
};

}  // namespace sallyport::netstack
