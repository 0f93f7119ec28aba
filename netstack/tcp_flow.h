#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/loop.h"
#include "base/pending.h"
#include "base/stream.h"
#include "netstack/deadline_list.h"
#include "netstack/flow_decider.h"
#include "netstack/flow_table.h"
#include "netstack/receive_queue.h"
#include "netstack/rx_buffer.h"
#include "netstack/send_queue.h"
#include "netstack/tcp_segment.h"

namespace sallyport::netstack {

class TcpLayer;
class TcpSplice;
class TcpStream;

/// One guest connection, from its SYN on. The steps follow one line:
///
///     Decide -> OnVerdict -> Open -> (relaying, until Service finds both sides done) -> Die
///
/// Until the verdict the SYN is held and lwIP knows nothing of it. Then lwIP has a pcb for it, and
/// the host's side is either a TcpSplice, which the flow owns, or a TcpStream, which somebody else
/// owns and may destroy at any time.
///
/// lwIP's callbacks only move bytes into queues, set marks and Touch() the flow. Everything else,
/// all output included, happens in Service(), once per turn; only whole super-segments are handed
/// to lwIP earlier, so that a long answer doesn't wait for the turn's end.
class TcpFlow {
 public:
  /// What lwIP cuts the bytes into where the link cuts them again: the largest multiple of common
  /// segment sizes that fits a packet.
  static constexpr size_t kSuperSegment = 65400;

  TcpFlow(TcpLayer& layer, const FlowKey& key, uint64_t id);
  ~TcpFlow();
  TcpFlow(const TcpFlow&) = delete;
  TcpFlow& operator=(const TcpFlow&) = delete;

  // For the layer.

  /// Holds SYN and asks for a verdict.
  void Decide(const Packet& packet, const TcpSegment& syn);
  /// Takes a segment of this flow. FRAME, which holds it, is null afterwards if lwIP keeps it.
  void Input(const Packet& packet, TcpSegment segment, RxBufferPtr& frame);
  void OnDecisionTimeout();
  /// Does what the turn has made necessary.
  void Service();
  /// Looks at what a call of lwIP's left of the connection.
  void AfterLwip();
  /// Ends the flow at once: both sides see a reset, or the guest a refusal.
  void Abort();
  /// The stack is being destroyed: nothing more is sent, a stream is left broken.
  void Abandon();

  uint64_t id() const { return id_; }
  tcp_pcb* pcb() const { return pcb_; }
  bool deciding() const { return held_syn_ != nullptr; }
  /// Whether the flow only goes on to deliver the rest.
  bool closing() const { return lingering_ || guest_finished_ || finish_wanted_; }
  /// The size of the segments that the guest takes.
  uint16_t segment_size() const { return segment_size_; }
  /// Whether OnFlowEnd is owed, and for what.
  bool granted() const { return granted_; }
  FlowInfo info() const { return table_node.key.Info(id_, Transport::kTcp); }
  FlowStats stats() const;

  // For the host's side.

  ReceiveQueue& received() { return received_; }
  /// SIZE bytes were taken out of received(): the guest may send as many more.
  void OnTaken(size_t size) { taken_ += size; }
  /// Nothing follows what is in received().
  bool guest_finished() const { return guest_finished_; }
  /// Whether the guest has both sent and acknowledged everything, and lwIP has forgotten it.
  bool guest_gone() const { return pcb_ == nullptr; }

  SendQueue& sending() { return sending_; }
  /// How many bytes may be added to sending() now. At 0 for lack of memory, the flow is touched
  /// when there is some.
  size_t Room();
  /// Hands whole super-segments to lwIP, if there are any.
  void FlushEarly();
  /// Hands everything to lwIP, unless it is little and much is under way.
  void FlushAll();
  /// The same, if nothing else will in this turn. A turn's end sends what was written as few frames,
  /// the FIN with it.
  void FlushIfTurnIsOver();
  /// Sends a FIN behind what is in sending().
  void Finish();
  void Touch();

  /// The stream was destroyed: what was written is still delivered.
  void OnStreamGone();
  /// The stream was reset, and is no longer the flow's.
  void OnStreamAborted();

  /// Has the processor fetch what a segment needs, all at once: with thousands of connections none
  /// of it is in a cache, and waiting for one line after the other is most of a segment's cost.
  void Prefetch() const;
  /// The same for what Service() needs of the stream's listener.
  void PrefetchListener() const;

 private:
  friend class ListScope;

  // The headers of a SYN, kept until the verdict.
  struct HeldSyn {
    std::array<uint8_t, kIpv6Header + TcpSegment::kMaxHeader> bytes;
    Packet packet;
    TcpSegment segment;
  };

  void OnVerdict(FlowVerdict verdict);
  void Refuse(DenyFlow::As as);
  void Open();
  void OnEstablished();
  void ServeHost();
  void Push();
  void WriteToLwip(size_t limit);
  bool WorthWriting() const;
  void OpenWindow();
  void LetEndWait();
  void AcknowledgeIfDue();
  void SplitForSmallWindow();
  void Reset();
  void Meter(uint64_t up, uint64_t down);
  void LoseHost();
  void CheckDone();
  void Die();
  bool TimersNeeded() const;

  // lwIP's callbacks.
  static err_t OnReceived(void* flow, tcp_pcb* pcb, pbuf* chain, err_t) noexcept;
  static err_t OnAcknowledged(void* flow, tcp_pcb* pcb, u16_t size) noexcept;
  static void OnError(void* flow, err_t error) noexcept;

  // What each segment needs comes first, for Prefetch(): what looking it up in the table brings
  // into the cache, then the rest.
  tcp_pcb* pcb_ = nullptr;  // Null before Open(), and again once lwIP has freed it.

 public:
  // Kept by the layer and its lists.
  TableNode<TcpFlow> table_node;
  TcpFlow* armed_next = nullptr;
  TcpFlow* armed_previous = nullptr;
  bool armed = false;
  bool touched = false;
  bool starved = false;
  bool dead = false;
  bool in_table = false;

 private:
  bool granted_ = false;
  bool established_ = false;
  bool guest_finished_ = false;
  bool end_unanswered_ = false;  // The guest's FIN has come in this turn.
  bool finish_wanted_ = false;
  bool finish_sent_ = false;
  bool reset_by_guest_ = false;
  bool abort_wanted_ = false;
  bool lingering_ = false;         // Nobody reads any more: what the guest still sends is dropped.
  bool waiting_for_host_ = false;  // The guest is gone, a socket has yet to take its last bytes.
  bool in_service_ = false;
  bool stream_event_ = false;
  uint16_t segment_size_ = 0;
  uint16_t lwip_mss_ = 0;
  uint32_t unacknowledged_ = 0;  // Received since the last acknowledgement, about.
  // How many more acknowledgements are sent at once, with nothing to ride with: enough for the
  // guest's part of a TLS handshake and the first request.
  uint8_t quick_acknowledgements_ = 4;
  TcpLayer& layer_;
  TcpStream* stream_ = nullptr;
  std::unique_ptr<TcpSplice> splice_;
  std::unique_ptr<HeldSyn> held_syn_;
  size_t taken_ = 0;  // Not yet reported to lwIP.
  ReceiveQueue received_;
  SendQueue sending_;
  std::unique_ptr<FlowMeter> meter_;  // Of a splice; may be none.
  uint64_t bytes_up_ = 0;
  uint64_t bytes_down_ = 0;
  uint32_t lingered_ = 0;  // Acknowledged since the linger deadline was last set.

  // What only the beginning and the end need.
  const uint64_t id_;
  const Clock::time_point started_;
  Pending decision_;
  std::function<void(std::unique_ptr<Stream>)> take_;  // Until the handshake is over.
  DeadlineList<TcpFlow>::Place deadline_;
};

}  // namespace sallyport::netstack
