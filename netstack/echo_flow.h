#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/unique_fd.h"
#include "netstack/deadline_list.h"
#include "netstack/flow_decider.h"
#include "netstack/flow_table.h"
#include "netstack/icmp.h"

namespace sallyport::netstack {

class EchoLayer;

/// Bytes behind the header of an echo request that are carried: more than any link's MTU needs.
inline constexpr size_t kMaxEchoPayload = 8192;

/// One run of pings: a guest, a destination and an identifier. Decided once, at its first request;
/// a few later ones wait for the verdict. Carried through a ping socket (SOCK_DGRAM, IPPROTO_ICMP
/// or IPPROTO_ICMPV6), whose messages begin with the ICMP header and whose identifier is the
/// kernel's; it may be of the other IP version than the guest's pings. The guest gets at most one
/// reply to a request, and from the destination alone. A refusal is remembered for a while. Ends by
/// silence.
class EchoFlow {
 public:
  EchoFlow(EchoLayer& layer, const FlowKey& key, uint64_t id);
  ~EchoFlow();
  EchoFlow(const EchoFlow&) = delete;
  EchoFlow& operator=(const EchoFlow&) = delete;

  void Decide();
  /// Takes an echo request of the guest's: PAYLOAD, of PACKET, is at most kMaxEchoPayload.
  void Input(const Packet& packet, uint16_t sequence, std::span<const uint8_t> payload);
  /// Its list's time is over.
  void OnDeadline();
  void End();

  uint64_t id() const { return id_; }
  bool deciding() const { return state_ == State::kDeciding; }
  bool granted() const { return state_ == State::kSpliced; }
  /// The source's port is the identifier; the destination has none.
  FlowInfo info() const { return table_node.key.Info(id_, Transport::kIcmp); }
  FlowStats stats() const;

  // Kept by the layer.
  TableNode<EchoFlow> table_node;
  bool dead = false;

 private:
  enum class State { kDeciding, kSpliced, kDenied };
  struct Request {
    uint16_t sequence;
    std::vector<uint8_t> payload;
  };

  void OnVerdict(FlowVerdict verdict);
  Status StartSplice(UniqueFd socket);
  void FailSplice();
  void Deny(DenyFlow::As as);
  void Queue(uint16_t sequence, std::span<const uint8_t> payload);
  void DeliverQueued();
  void SendUp(uint16_t sequence, std::span<const uint8_t> payload);
  void OnReady(uint32_t events);
  void ReadReplies();
  void ReadErrors();
  void OnReply(std::span<const uint8_t> message);
  bool Meter(uint64_t up, uint64_t down);
  void TellUnreachable(Unreachable reason, uint16_t sequence);
  void TellTooBig(uint32_t mtu, uint16_t sequence);
  std::span<const uint8_t> Quote(uint16_t sequence, std::span<uint8_t> storage) const;

  EchoLayer& layer_;
  const uint64_t id_;
  const Clock::time_point started_;
  State state_ = State::kDeciding;
  Unreachable denied_as_ = Unreachable::kProhibited;
  Pending decision_;
  std::vector<Request> queue_;
  size_t queued_bytes_ = 0;
  UniqueFd socket_;
  Loop::Handle watch_;
  IpAddress peer_;                    // Of the socket; only its replies count.
  uint32_t unanswered_ = 0;           // Requests that went up, less the replies.
  std::unique_ptr<FlowMeter> meter_;  // May be none.
  uint64_t bytes_up_ = 0;
  uint64_t bytes_down_ = 0;
  DeadlineList<EchoFlow>::Place deadline_;
};

}  // namespace sallyport::netstack
