#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/unique_fd.h"
#include "netstack/datagram_socket.h"
#include "netstack/deadline_list.h"
#include "netstack/flow_decider.h"
#include "netstack/flow_table.h"
#include "netstack/icmp.h"

namespace sallyport::netstack {

class UdpLayer;

/// One guest address and port talking to one destination over UDP. Decided once, at its first
/// datagram; later ones wait for the verdict, as many as a bound allows. A refusal is remembered
/// for a while. Ends by silence.
class UdpFlow {
 public:
  UdpFlow(UdpLayer& layer, const FlowKey& key, uint64_t id);
  ~UdpFlow();
  UdpFlow(const UdpFlow&) = delete;
  UdpFlow& operator=(const UdpFlow&) = delete;

  void Decide();
  /// Takes a datagram of the guest's: PAYLOAD of PACKET.
  void Input(const Packet& packet, std::span<const uint8_t> payload);
  /// Sends DATAGRAMS, which waited in the layer's batch, to the host.
  void SendUp(std::span<iovec> datagrams);
  /// Its list's time is over.
  void OnDeadline();
  void End();

  uint64_t id() const { return id_; }
  bool deciding() const { return state_ == State::kDeciding; }
  bool granted() const { return state_ == State::kSpliced || state_ == State::kServed; }
  FlowInfo info() const { return table_node.key.Info(id_, Transport::kUdp); }
  FlowStats stats() const;

  // Kept by the layer.
  TableNode<UdpFlow> table_node;
  bool dead = false;

 private:
  enum class State { kDeciding, kSpliced, kServed, kDenied };
  using Datagram = std::vector<uint8_t>;
  // What a reply to the service's answers finds the flow by, as long as there is one.
  struct Alive {
    UdpFlow* flow;
  };

  void OnVerdict(FlowVerdict verdict);
  Status StartSplice(UniqueFd socket);
  void FailSplice();
  void StartServing(DatagramService& service);
  void Deny(DenyFlow::As as);
  void Queue(std::span<const uint8_t> payload);
  void DeliverQueued();
  void Deliver(std::span<const uint8_t> payload);
  void SendTogether(std::span<iovec> datagrams);
  void CountLost(Drop why, size_t datagrams);
  void Serve(std::span<const uint8_t> payload);
  void OnReadable();
  bool SendAllDown(DatagramSocket::Received received);
  bool OnSocketError(int error);
  bool Meter(uint64_t up, uint64_t down);
  void SendDown(std::span<const uint8_t> payload);
  void TellUnreachable(Unreachable reason, size_t payload_size);

  UdpLayer& layer_;
  const uint64_t id_;
  const Clock::time_point started_;
  State state_ = State::kDeciding;
  Unreachable denied_as_ = Unreachable::kProhibited;
  Pending decision_;
  std::vector<Datagram> queue_;
  size_t queued_bytes_ = 0;
  std::optional<DatagramSocket> socket_;
  Loop::Handle watch_;
  DatagramService* service_ = nullptr;
  std::shared_ptr<Alive> alive_;
  std::unique_ptr<FlowMeter> meter_;  // Of a splice; may be none.
  uint64_t bytes_up_ = 0;
  uint64_t bytes_down_ = 0;
  DeadlineList<UdpFlow>::Place deadline_;
};

}  // namespace sallyport::netstack
