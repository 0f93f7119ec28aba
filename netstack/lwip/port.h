#pragma once

#include <cstdint>
#include <optional>

#include "netstack/packet.h"

extern "C" {
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
}

namespace sallyport::netstack {

/// lwIP, which keeps its state in globals: one instance at a time, and nothing of it is left when
/// that is destroyed. lwIP is given TCP segments one by one and knows nothing of the link.
///
/// lwIP finds a connection by walking `tcp_active_pcbs`. Here every connection is found by its
/// owner, who puts it alone on that list for the time of a call (TcpFlow's ListScope): between
/// calls all lists are empty, and a call costs the same however many connections there are.
class LwipPort {
 public:
  /// Where lwIP's packets go.
  class Output {
   public:
    /// Sends PACKET, which starts with its IP header; the caller keeps it. False when it is not
    /// sent now: of an acknowledgement lwIP remembers then that it is due, and makes another.
    virtual bool OnLwipOutput(const pbuf& packet, bool v6) = 0;

   protected:
    ~Output() = default;
  };
  /// Who fills in the checksums of what lwIP sends.
  enum class Checksums { kByLwip, kByLink };

  LwipPort(Output& output, Checksums checksums, std::optional<uint32_t> initial_sequence);
  ~LwipPort();
  LwipPort(const LwipPort&) = delete;
  LwipPort& operator=(const LwipPort&) = delete;

  static bool exists();

  netif* interface() { return &interface_; }

  /// Makes PACKET what lwIP takes as the packet being processed.
  void SetCurrent(const Packet& packet);
  /// Feeds SEGMENT (owned) with the lists as they are. PORT is listened to meanwhile; 0 for none.
  void Input(pbuf* segment, uint16_t listen_port);
  /// Answers PACKET, a TCP segment between these ports, with a reset.
  void Reset(const Packet& packet, uint16_t source_port, uint16_t destination_port,
             uint32_t sequence, uint32_t acknowledgement);

 private:
  netif interface_{};
  tcp_pcb_listen* listener_ = nullptr;
};

}  // namespace sallyport::netstack
