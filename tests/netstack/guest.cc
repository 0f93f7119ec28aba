#include "guest.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

constexpr uint8_t kWindowShift = 7;

uint16_t TransportChecksum(std::span<const uint8_t> source, std::span<const uint8_t> destination,
                           uint8_t protocol, const Bytes& message) {
  Checksum checksum;
  if (protocol != kProtocolIcmp) {
    checksum.AddPseudoHeader(source, destination, protocol, message.size());
  }
  checksum.Add(message);
  return checksum.Finish();
}

void Append(Bytes& to, std::string_view data) {
  to.insert(to.end(), data.begin(), data.end());
}

IpAddress GuestAddress(bool v4) {
  const StackOptions options = TestOptions();
  return v4 ? options.guest_v4 : options.guest_v6;
}

void ReadTcp(Seen& seen) {
  REQUIRE(seen.message.size() >= 20);
  seen.sequence = Load32(&seen.message[4]);
  seen.acknowledgement = Load32(&seen.message[8]);
  const size_t header = size_t{4} * (seen.message[12] >> 4);
  REQUIRE(header <= seen.message.size());
  seen.flags = seen.message[13];
  seen.window = Load16(&seen.message[14]);
  seen.data.assign(seen.message.begin() + static_cast<ptrdiff_t>(header), seen.message.end());
}

}  // namespace

StackOptions TestOptions() {
  StackOptions options;
  options.guest_v4 = IpAddress::V4(10, 0, 2, 15);
  options.gateway_v4 = IpAddress::V4(10, 0, 2, 2);
  options.guest_v6 = *IpAddress::Parse("fd00:5a11::15");
  options.gateway_v6 = *IpAddress::Parse("fd00:5a11::2");
  options.guest_mac = {2, 0, 0, 0, 0, 2};
  options.gateway_mac = {2, 0, 0, 0, 0, 1};
  return options;
}

IpAddress Far(Ip ip) {
  return ip == Ip::kV4 ? IpAddress::V4(192, 0, 2, 80) : *IpAddress::Parse("2001:db8::80");
}

Seen Read(const Bytes& frame) {
  const StackOptions options = TestOptions();
  REQUIRE(frame.size() >= 14);
  REQUIRE(frame.size() <= 14 + options.mtu);
  REQUIRE(std::equal(options.guest_mac.begin(), options.guest_mac.end(), frame.begin()));
  REQUIRE(std::equal(options.gateway_mac.begin(), options.gateway_mac.end(), frame.begin() + 6));
  Seen seen;
  seen.ether_type = Load16(&frame[12]);
  Bytes rest(frame.begin() + 14, frame.end());
  if (seen.ether_type == 0x0806) {
    seen.message = rest;
    return seen;
  }
  auto parsed = ParseIp(static_cast<EtherType>(seen.ether_type), rest);
  REQUIRE(std::holds_alternative<Packet>(parsed));
  const Packet& packet = std::get<Packet>(parsed);
  REQUIRE(packet.whole.size() == rest.size());
  seen.v6 = packet.v6;
  seen.protocol = packet.protocol;
  seen.part = packet.part;
  seen.source = ToIpAddress(packet.source());
  seen.destination = ToIpAddress(packet.destination());
  seen.message.assign(packet.payload.begin(), packet.payload.end());
  if (packet.fragment) return seen;
  REQUIRE(TransportChecksumRight(packet));
  if (seen.protocol != kProtocolTcp && seen.protocol != kProtocolUdp) return seen;
  seen.source_port = Load16(&seen.message[0]);
  seen.destination_port = Load16(&seen.message[2]);
  if (seen.protocol == kProtocolTcp) {
    ReadTcp(seen);
  } else {
    seen.data.assign(seen.message.begin() + 8, seen.message.end());
  }
  return seen;
}

Bytes EthernetFrame(uint16_t ether_type, const Bytes& packet) {
  const StackOptions options = TestOptions();
  Bytes frame(options.gateway_mac.begin(), options.gateway_mac.end());
  frame.insert(frame.end(), options.guest_mac.begin(), options.guest_mac.end());
  frame.push_back(static_cast<uint8_t>(ether_type >> 8));
  frame.push_back(static_cast<uint8_t>(ether_type));
  frame.insert(frame.end(), packet.begin(), packet.end());
  return frame;
}

Bytes IpPacket(const IpAddress& destination, uint8_t protocol, const Bytes& message,
               std::optional<IpAddress> source) {
  const IpAddress from = source.value_or(GuestAddress(destination.is_v4()));
  Bytes packet;
  if (destination.is_v4()) {
    packet.resize(20);
    packet[0] = 0x45;
    Store16(&packet[2], 20 + message.size());
    Store16(&packet[6], 0x4000);  // Don't fragment.
    packet[8] = 64;
    packet[9] = protocol;
    std::ranges::copy(from.bytes(), packet.begin() + 12);
    std::ranges::copy(destination.bytes(), packet.begin() + 16);
    Checksum checksum;
    checksum.Add(packet);
    Store16(&packet[10], checksum.Finish());
  } else {
    packet.resize(40);
    packet[0] = 0x60;
    Store16(&packet[4], message.size());
    packet[6] = protocol;
    packet[7] = protocol == kProtocolIcmp6 ? 255 : 64;
    std::ranges::copy(from.bytes(), packet.begin() + 8);
    std::ranges::copy(destination.bytes(), packet.begin() + 24);
  }
  packet.insert(packet.end(), message.begin(), message.end());
  return packet;
}

Bytes FragmentFrame(const IpAddress& destination, uint8_t protocol, const FragmentFields& fields,
                    const Bytes& bytes) {
  if (destination.is_v6()) {
    Bytes message(8);
    message[0] = protocol;
    Store16(&message[2], fields.offset | (fields.more ? 1 : 0));
    Store32(&message[4], fields.id);
    message.insert(message.end(), bytes.begin(), bytes.end());
    return IpFrame(destination, kProtocolFragment, message);
  }
  Bytes packet = IpPacket(destination, protocol, bytes);
  Store16(&packet[4], fields.id);
  Store16(&packet[6], (fields.more ? 0x2000 : 0) | fields.offset / 8);
  Store16(&packet[10], 0);
  Checksum checksum;
  checksum.Add(std::span(packet).first(20));
  Store16(&packet[10], checksum.Finish());
  return EthernetFrame(0x0800, packet);
}

std::vector<Bytes> Fragments(const IpAddress& destination, uint8_t protocol, const Bytes& message) {
  const size_t limit = destination.is_v4() ? 1480 : 1448;
  std::vector<Bytes> frames;
  for (size_t at = 0; at < message.size(); at += limit) {
    const size_t size = std::min(limit, message.size() - at);
    frames.push_back(FragmentFrame(destination, protocol,
                                   {.offset = at, .more = at + size < message.size()},
                                   Bytes(message.begin() + static_cast<ptrdiff_t>(at),
                                         message.begin() + static_cast<ptrdiff_t>(at + size))));
  }
  return frames;
}

Bytes IpFrame(const IpAddress& destination, uint8_t protocol, const Bytes& message,
              std::optional<IpAddress> source) {
  return EthernetFrame(destination.is_v4() ? 0x0800 : 0x86dd,
                       IpPacket(destination, protocol, message, source));
}

Bytes UdpMessage(const IpAddress& destination, uint16_t source_port, uint16_t destination_port,
                 std::string_view data) {
  Bytes message(8);
  Store16(&message[0], source_port);
  Store16(&message[2], destination_port);
  Store16(&message[4], 8 + data.size());
  Append(message, data);
  const IpAddress guest = GuestAddress(destination.is_v4());
  const uint16_t sum = TransportChecksum(guest.bytes(), destination.bytes(), kProtocolUdp, message);
  Store16(&message[6], sum == 0 ? 0xffff : sum);
  return message;
}

Bytes EchoRequest(const IpAddress& destination, std::string_view data, uint16_t sequence,
                  uint16_t identifier) {
  const bool v4 = destination.is_v4();
  Bytes message{static_cast<uint8_t>(v4 ? 8 : 128), 0, 0, 0, 0, 0, 0, 0};
  Store16(&message[4], identifier);
  Store16(&message[6], sequence);
  Append(message, data);
  const IpAddress guest = GuestAddress(v4);
  Store16(&message[2], TransportChecksum(guest.bytes(), destination.bytes(),
                                         v4 ? kProtocolIcmp : kProtocolIcmp6, message));
  return message;
}

Bytes TcpMessage(const IpAddress& destination, const TcpFields& fields) {
  Bytes message(20);
  Store16(&message[0], fields.source_port);
  Store16(&message[2], fields.destination_port);
  Store32(&message[4], fields.sequence);
  Store32(&message[8], fields.acknowledgement);
  message[12] = static_cast<uint8_t>((20 + fields.options.size()) / 4 << 4);
  message[13] = fields.flags;
  Store16(&message[14], fields.window);
  message.insert(message.end(), fields.options.begin(), fields.options.end());
  Append(message, fields.data);
  const IpAddress guest = GuestAddress(destination.is_v4());
  Store16(&message[16],
          TransportChecksum(guest.bytes(), destination.bytes(), kProtocolTcp, message));
  return message;
}

GuestTcp::GuestTcp(MemoryLink& link, Ip ip, uint16_t source_port, uint16_t destination_port,
                   uint32_t sequence)
    : link_(link),
      destination_(Far(ip)),
      source_port_(source_port),
      destination_port_(destination_port),
      first_(sequence),
      next_(sequence) {}

void GuestTcp::Transmit(uint8_t flags, uint32_t sequence, std::string_view data,
                        const Bytes& options) {
  window_end_ = peer_next_ + (uint32_t{window} << (window_scale ? kWindowShift : 0));
  link_.Push(IpFrame(destination_, kProtocolTcp,
                     TcpMessage(destination_, {.source_port = source_port_,
                                               .destination_port = destination_port_,
                                               .sequence = sequence,
                                               .acknowledgement = flags & kAck ? peer_next_ : 0,
                                               .flags = flags,
                                               .window = window,
                                               .options = options,
                                               .data = data})));
}

void GuestTcp::Syn() {
  Bytes options{2, 4, 0x05, 0xb4};  // MSS 1460.
  if (window_scale) options.insert(options.end(), {1, 3, 3, kWindowShift});
  Transmit(kSyn, first_, {}, options);
  next_ = first_ + 1;
}

void GuestTcp::Send(std::string_view data) {
  constexpr size_t kMss = 1440;
  do {
    const std::string_view piece = data.substr(0, kMss);
    Transmit(kAck | kPsh, next_, piece);
    next_ += static_cast<uint32_t>(piece.size());
    data.remove_prefix(piece.size());
  } while (!data.empty());
}

void GuestTcp::SendAt(uint32_t offset, std::string_view data) {
  Transmit(kAck | kPsh, first_ + 1 + offset, data);
}

void GuestTcp::Fin() {
  Transmit(kFin | kAck, next_++, {});
}
void GuestTcp::FinAt(uint32_t offset) {
  Transmit(kFin | kAck, first_ + 1 + offset, {});
}
void GuestTcp::Rst() {
  Transmit(open ? kRst | kAck : kRst, next_, {});
}
void GuestTcp::Ack() {
  Transmit(kAck, next_, {});
}

// Of what overlaps, the new part; of what exceeds the window that we announced last, nothing.
void GuestTcp::TakeData(const Seen& seen) {
  const auto known = static_cast<int32_t>(peer_next_ - seen.sequence);
  if (finished || known < 0 || static_cast<size_t>(known) > seen.data.size()) return;
  std::string_view data = std::string_view(seen.data).substr(static_cast<size_t>(known));
  const size_t room = window_end_ - peer_next_;
  const bool whole = data.size() <= room;
  data = data.substr(0, room);
  if (!data.empty()) ++segments;
  received += data;
  peer_next_ += static_cast<uint32_t>(data.size());
  if (whole && (seen.flags & kFin) != 0) {
    ++peer_next_;
    finished = true;
  }
}

bool GuestTcp::Take(const Seen& seen) {
  if (seen.protocol != kProtocolTcp || seen.destination_port != source_port_ ||
      seen.source_port != destination_port_ || seen.source != destination_) {
    return false;
  }
  if (seen.flags & kAck) acknowledged = std::max(acknowledged, seen.acknowledgement - first_);
  if (seen.flags & kRst) {
    reset = true;
    return true;
  }
  if (seen.flags & kSyn) {
    open = true;
    peer_next_ = seen.sequence + 1;
    window_end_ = peer_next_ + window;  // That of a SYN is never scaled.
    peer_window = seen.window;
    if (auto_ack) Ack();
    return true;
  }
  peer_window = window_scale ? uint32_t{seen.window} << kWindowShift : seen.window;
  if (seen.data.empty() && (seen.flags & kFin) == 0) return true;
  TakeData(seen);
  if (auto_ack) Ack();
  return true;
}

}  // namespace sallyport::netstack
