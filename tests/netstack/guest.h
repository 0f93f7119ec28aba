#pragma once

// The guest's end of an in-memory link: builds frames, reads those that come back, and speaks
// enough TCP to open, use and end a connection.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/memory_link.h"
#include "netstack/packet.h"
#include "netstack/stack.h"

namespace sallyport::netstack {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kPsh = 0x08;
constexpr uint8_t kAck = 0x10;

enum class Ip { kV4, kV6 };

/// The network that all tests use.
StackOptions TestOptions();

/// A frame from the stack, taken apart. The checksums of it have been checked.
struct Seen {
  uint16_t ether_type = 0;
  bool v6 = false;
  uint8_t protocol = 0;
  FragmentPart part;  ///< Of a fragment, whose `message` is no whole one.
  IpAddress source;
  IpAddress destination;
  Bytes message;  ///< ARP packet, or what follows the IP header.
  // For TCP and UDP.
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  std::string data;
  // For TCP.
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint8_t flags = 0;
  uint16_t window = 0;
};

/// Reads FRAME; fails the running test where it is not a right one.
Seen Read(const Bytes& frame);

/// What stands in an Ethernet frame from the guest to the gateway.
Bytes EthernetFrame(uint16_t ether_type, const Bytes& packet);
/// An IP packet from the guest's own address unless SOURCE is given.
Bytes IpPacket(const IpAddress& destination, uint8_t protocol, const Bytes& message,
               std::optional<IpAddress> source = std::nullopt);
/// A frame with such a packet.
Bytes IpFrame(const IpAddress& destination, uint8_t protocol, const Bytes& message,
              std::optional<IpAddress> source = std::nullopt);
/// A frame with a part of such a packet: BYTES, which stand at OFFSET of its message.
struct FragmentFields {
  uint32_t id = 77;
  size_t offset = 0;
  bool more = true;
};
Bytes FragmentFrame(const IpAddress& destination, uint8_t protocol, const FragmentFields& fields,
                    const Bytes& bytes);
/// Frames with the fragments of such a packet, of up to 1,480 bytes each.
std::vector<Bytes> Fragments(const IpAddress& destination, uint8_t protocol, const Bytes& message);
/// Messages, with their checksums.
Bytes UdpMessage(const IpAddress& destination, uint16_t source_port, uint16_t destination_port,
                 std::string_view data);
Bytes EchoRequest(const IpAddress& destination, std::string_view data, uint16_t sequence = 1,
                  uint16_t identifier = 0x1234);

struct TcpFields {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint8_t flags = 0;
  uint16_t window = 65535;
  Bytes options{};  ///< A multiple of four bytes.
  std::string_view data{};
};
Bytes TcpMessage(const IpAddress& destination, const TcpFields& fields);

/// An address that is not on the link.
IpAddress Far(Ip ip);

/// The guest's kernel, as far as one TCP connection needs it.
class GuestTcp {
 public:
  /// SEQUENCE is the first of ours.
  GuestTcp(MemoryLink& link, Ip ip, uint16_t source_port, uint16_t destination_port,
           uint32_t sequence = 1000);

  /// Sends our SYN, with the MSS and window scale options of Linux.
  void Syn();
  void Send(std::string_view data);
  void SendAt(uint32_t offset, std::string_view data);  ///< Without moving on: from our first byte.
  void Fin();
  void FinAt(uint32_t offset);  ///< Without moving on.
  void Rst();
  void Ack();

  /// Takes SEEN if it belongs to this connection, and answers it.
  bool Take(const Seen& seen);

  bool open = false;      ///< Our SYN was accepted.
  bool reset = false;     ///< A reset came.
  bool finished = false;  ///< The other side's FIN came, after all its data.
  std::string received;
  size_t segments = 0;        ///< With data, that came.
  uint32_t acknowledged = 0;  ///< Of our sequence space, from the SYN on.
  uint32_t peer_window = 0;   ///< Scaled.
  bool auto_ack = true;
  uint16_t window = 65535;
  bool window_scale = true;

 private:
  void TakeData(const Seen& seen);
  void Transmit(uint8_t flags, uint32_t sequence, std::string_view data, const Bytes& options = {});

  MemoryLink& link_;
  const IpAddress destination_;
  const uint16_t source_port_;
  const uint16_t destination_port_;
  const uint32_t first_;
  uint32_t next_;
  uint32_t peer_next_ = 0;
  uint32_t window_end_ = 0;  // The first byte that we did not ask for.
};

}  // namespace sallyport::netstack
