#pragma once

#include <cstdint>
#include <vector>

#include "netstack/deadline_list.h"
#include "netstack/echo_flow.h"
#include "netstack/flow_table.h"
#include "netstack/rate_limit.h"
#include "netstack/shared.h"

namespace sallyport::netstack {

/// All pings of the guest to others than the gateway, refused ones that are remembered included.
class EchoLayer {
 public:
  explicit EchoLayer(Shared& shared);
  ~EchoLayer();

  /// Takes an ICMP or ICMPv6 echo request of verified checksum, with a whole header.
  void Input(const Packet& packet);
  /// Destroys what ended in this turn.
  void EndOfTurn();
  /// Ends the flow ID. False if there is none.
  bool Cut(uint64_t id);

  /// Calls VISIT with each flow, refused ones that are remembered included.
  template <class Visit>
  void ForEach(Visit visit) const {
    table_.ForEach([&visit](const EchoFlow& flow) { visit(flow); });
  }

  // For flows.

  Shared& shared() { return shared_; }
  DeadlineList<EchoFlow>& deciding() { return deciding_; }
  DeadlineList<EchoFlow>& spliced() { return spliced_; }
  DeadlineList<EchoFlow>& denied() { return denied_; }
  /// Room for one message of any size, for the time of a call.
  std::span<uint8_t> scratch() { return scratch_; }
  /// FLOW is over; it is destroyed at the turn's end.
  void OnDead(EchoFlow& flow);

 private:
  EchoFlow* Start(const Packet& packet, const FlowKey& key);
  EchoFlow* Refuse(const Packet& packet, const FlowKey& key, Drop why);
  bool MakeRoom();

  Shared& shared_;
  FlowTable<EchoFlow> table_;
  DeadlineList<EchoFlow> deciding_;
  DeadlineList<EchoFlow> spliced_;
  DeadlineList<EchoFlow> denied_;
  RateLimit requests_;
  std::vector<uint8_t> scratch_;
  std::vector<EchoFlow*> dead_;
};

}  // namespace sallyport::netstack
