#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/loop.h"
#include "netstack/lwip/port.h"
#include "netstack/packet.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

/// Puts IPv4 fragments of UDP and ICMP together (lwIP does), for at most 15 seconds each. TCP never
/// fragments: its segments fit the MTU.
class Fragments {
 public:
  Fragments(Loop& loop, LwipPort& lwip, const StackOptions& options, StackStats& stats);
  ~Fragments();
  Fragments(const Fragments&) = delete;
  Fragments& operator=(const Fragments&) = delete;

  /// Takes a fragment. Returns the whole IP packet if this was the last missing part, else nothing;
  /// good until the next call.
  std::span<uint8_t> Add(const Packet& fragment);

 private:
  void SetTimer();
  void OnTimer();

  Loop& loop_;
  LwipPort& lwip_;
  const StackOptions& options_;
  StackStats& stats_;
  std::vector<uint8_t> whole_;
  int ticks_left_ = 0;  // Until nothing can be waiting any more.
  Loop::Handle timer_;
};

}  // namespace sallyport::netstack
