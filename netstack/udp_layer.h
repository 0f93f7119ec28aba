#pragma once

#include <cstdint>
#include <vector>

#include "netstack/datagram_batch.h"
#include "netstack/deadline_list.h"
#include "netstack/flow_table.h"
#include "netstack/shared.h"
#include "netstack/udp_flow.h"

namespace sallyport::netstack {

/// All UDP flows of the guest, refused ones that are remembered included.
class UdpLayer {
 public:
  explicit UdpLayer(Shared& shared);
  ~UdpLayer();

  /// Takes a UDP packet of verified checksum.
  void Input(const Packet& packet);
  /// The frames of this turn have been read: sends what was kept until then.
  void EndOfFrames() { batch_.Flush(); }
  /// Destroys what ended in this turn.
  void EndOfTurn();
  /// Ends the flow ID. False if there is none.
  bool Cut(uint64_t id);

  /// Calls VISIT with each flow, refused ones that are remembered included.
  template <class Visit>
  void ForEach(Visit visit) const {
    table_.ForEach([&visit](const UdpFlow& flow) { visit(flow); });
  }

  /// Whether PACKET's lengths agree.
  static bool Valid(const Packet& packet);

  /// PACKET, which is valid, is to a group and goes nowhere: the decider is told, the guest is not.
  void RefuseGroup(const Packet& packet);

  // For flows.

  Shared& shared() { return shared_; }
  DeadlineList<UdpFlow>& deciding() { return deciding_; }
  DeadlineList<UdpFlow>& spliced() { return spliced_; }
  DeadlineList<UdpFlow>& served() { return served_; }
  DeadlineList<UdpFlow>& denied() { return denied_; }
  /// What goes to hosts.
  DatagramBatch& batch() { return batch_; }
  /// Room for one datagram of any size, for the time of a call.
  std::span<uint8_t> scratch() { return scratch_; }
  /// FLOW is over; it is destroyed at the turn's end.
  void OnDead(UdpFlow& flow);

 private:
  UdpFlow* Start(const Packet& packet, const FlowKey& key);
  UdpFlow* Refuse(const Packet& packet, const FlowKey& key, Drop why);
  bool MakeRoom();

  Shared& shared_;
  FlowTable<UdpFlow> table_;
  DeadlineList<UdpFlow> deciding_;
  DeadlineList<UdpFlow> spliced_;
  DeadlineList<UdpFlow> served_;
  DeadlineList<UdpFlow> denied_;
  DatagramBatch batch_;
  std::vector<uint8_t> scratch_;
  std::vector<UdpFlow*> dead_;
};

}  // namespace sallyport::netstack
