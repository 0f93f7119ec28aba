#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/loop.h"
#include "netstack/chunk.h"
#include "netstack/deadline_list.h"
#include "netstack/flow_table.h"
#include "netstack/lwip/port.h"
#include "netstack/rx_buffer.h"
#include "netstack/shared.h"
#include "netstack/tcp_flow.h"

namespace sallyport::netstack {

/// All TCP connections of the guest: finds the flow of each segment, runs the flows' turns and
/// lwIP's timers, and keeps the limits.
class TcpLayer final : private LwipPort::Output {
 public:
  TcpLayer(Shared& shared, RxPool& rx_pool);
  ~TcpLayer();

  /// FRAME, of which nothing is known yet, will be handled next: has the processor fetch its flow.
  void Anticipate(std::span<const uint8_t> frame) const;
  /// Takes a TCP packet of the guest's. FRAME holds it, and is null afterwards if it was kept.
  void Input(const Packet& packet, RxBufferPtr& frame);
  /// Runs what this turn has touched.
  void EndOfTurn();
  /// Ends the flow ID with a reset on both sides. False if there is none.
  bool Cut(uint64_t id);

  /// Calls VISIT with each connection that has not ended.
  template <class Visit>
  void ForEach(Visit visit) const {
    table_.ForEach([&visit](const TcpFlow& flow) {
      if (!flow.dead) visit(flow);
    });
    for (const TcpFlow* flow : forgotten_) {
      if (!flow->dead) visit(*flow);
    }
  }

  // For flows.

  Shared& shared() { return shared_; }
  LwipPort& lwip() { return lwip_; }
  RxPool& rx_pool() { return rx_pool_; }
  ChunkPool& chunk_pool() { return chunk_pool_; }
  DeadlineList<TcpFlow>& deciding() { return deciding_; }
  DeadlineList<TcpFlow>& lingering() { return lingering_; }

  /// FLOW has something to do at the turn's end.
  void Touch(TcpFlow& flow);
  /// Whether this turn's end has served who was touched: who is touched now waits for the next.
  bool turn_is_over() const { return !serving_ && served_at_ == shared_.loop.now(); }
  /// FLOW wants to be touched when there is memory again.
  void Starve(TcpFlow& flow);
  /// Until it is released, what lwIP has to acknowledge of a connection, and nothing else, waits.
  void HoldAcknowledgements() { hold_acknowledgements_ = true; }
  void ReleaseAcknowledgements() { hold_acknowledgements_ = false; }
  /// Whether lwIP's timers matter to FLOW.
  void SetArmed(TcpFlow& flow, bool armed);
  /// FLOW no longer waits for a verdict.
  void OnDecided() { --deciding_count_; }
  /// lwIP has no connection for FLOW any more: its addresses may be used again.
  void Forget(TcpFlow& flow);
  /// FLOW is over; it is destroyed at the turn's end.
  void OnDead(TcpFlow& flow);

 private:
  void OnUnknown(const Packet& packet, const TcpSegment& segment);
  void Start(const Packet& packet, const TcpSegment& syn);
  std::optional<Drop> Overfull();
  void Refuse(const Packet& packet, const TcpSegment& segment);
  bool OnLwipOutput(const pbuf& packet, bool v6) override;
  Offload MakeOffload(const pbuf& packet, bool v6);
  void EnsureTurn();
  void RunTouched();
  void WakeStarved();
  void Bury();
  void SetTimer();
  void OnTick();

  Shared& shared_;
  RxPool& rx_pool_;
  ChunkPool chunk_pool_;
  LwipPort lwip_;
  FlowTable<TcpFlow> table_;
  std::vector<TcpFlow*> forgotten_;  // Alive for their stream or socket only.
  DeadlineList<TcpFlow> deciding_;
  DeadlineList<TcpFlow> lingering_;
  size_t deciding_count_ = 0;
  std::vector<TcpFlow*> touched_;
  std::vector<TcpFlow*> starved_;
  std::vector<TcpFlow*> dead_;
  TcpFlow* first_armed_ = nullptr;
  bool hold_acknowledgements_ = false;
  bool timer_set_ = false;
  Loop::Handle timer_;
  bool serving_ = false;
  Clock::time_point served_at_;  // The turn whose end has been run.
  bool turn_wanted_ = false;
  Loop::Handle next_turn_;
};

}  // namespace sallyport::netstack
