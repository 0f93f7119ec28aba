#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <variant>

#include "base/dialer.h"
#include "base/flow_meter.h"
#include "base/ip_address.h"
#include "base/pending.h"
#include "base/stream.h"
#include "base/unique_fd.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

/// What is known of a flow when its first packet arrives.
struct FlowInfo {
  uint64_t id = 0;  ///< Unique within the sandbox, never reused.
  Transport transport = Transport::kTcp;
  Endpoint source;       ///< ICMP has the identifier as its port, and none at the destination.
  Endpoint destination;  ///< As the guest addressed it: often a synthetic address.
};

/// What a finished flow carried, payload bytes.
struct FlowStats {
  uint64_t bytes_up = 0;    ///< From the guest.
  uint64_t bytes_down = 0;  ///< To the guest.
  std::chrono::microseconds duration{0};
};

/// The flow is refused. TCP: a reset at the SYN; UDP and ICMP: an ICMP error.
struct DenyFlow {
  enum class As {
    kProhibited,   ///< Policy. TCP: RST; UDP: administratively prohibited (ICMP 3/13, ICMPv6 1/1).
    kRefused,      ///< The destination refused. TCP: RST; UDP: port unreachable.
    kUnreachable,  ///< It can't be reached. TCP, UDP and ICMP: host unreachable.
    kTimedOut,     ///< It did not answer: as kUnreachable, with the code for it where one exists.
  };
  As as = As::kProhibited;
};

/// The flow is relayed to this connected, non-blocking socket; for ICMP a ping socket, of either IP
/// version (EchoFlow).
struct SpliceFlow {
  UniqueFd socket;
  std::unique_ptr<FlowMeter> meter = nullptr;  ///< None: it may carry what it likes.
};

/// TCP only: the connection is accepted now, and the stream given to TAKE (from the loop, later).
struct AcceptFlow {
  std::function<void(std::unique_ptr<Stream>)> take;
};

/// UDP only: answered on the host, datagram by datagram (the gate's own DNS).
class DatagramService {
 public:
  virtual ~DatagramService() = default;
  /// One datagram of the guest's. REPLY may be called later, any number of times, also after the
  /// flow ended (it then does nothing).
  virtual void OnDatagram(const FlowInfo& flow, std::string_view payload,
                          std::function<void(std::string_view)> reply) = 0;
};
struct ServeFlow {
  DatagramService* service = nullptr;  ///< Outlives the stack.
};

using FlowVerdict = std::variant<DenyFlow, SpliceFlow, AcceptFlow, ServeFlow>;

/// Who the stack asks about every flow, once, at its first packet.
class FlowDecider {
 public:
  virtual ~FlowDecider() = default;

  /// Decides FLOW and calls DONE once; never before returning. The packet waits meanwhile (a SYN is
  /// held: the guest sees a connection that has not been answered yet). Destroying the Pending
  /// means that the guest gave up.
  virtual Pending Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) = 0;

  /// FLOW, spliced or served, is over.
  virtual void OnFlowEnd(const FlowInfo& flow, const FlowStats& stats) = 0;

  /// FLOW was refused without being asked about, because of a limit of the stack's on the number of
  /// flows (WHY is kFlowLimit or kFlowRate), or because it is a datagram to a group (kNotForUs: multicast
  /// or broadcast; called for each). It has no id.
  virtual void OnFlowRefused(const FlowInfo& /*flow*/, Drop /*why*/) {}
};

}  // namespace sallyport::netstack
