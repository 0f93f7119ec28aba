#include "netstack/packet.h"

#include <catch2/catch.hpp>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/datagram_cutter.h"
#include "netstack/tcp_segment.h"

namespace sallyport::netstack {
namespace {

Drop DropOf(EtherType type, Bytes bytes) {
  auto parsed = ParseIp(type, bytes);
  REQUIRE(std::holds_alternative<Drop>(parsed));
  return std::get<Drop>(parsed);
}

// RFC 1071's example: the sum is ddf2.
TEST_CASE("the checksum is the one of RFC 1071, however its input is cut") {
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  for (size_t cut = 0; cut <= bytes.size(); cut += 2) {
    Checksum checksum;
    checksum.Add(std::span(bytes).first(cut));
    checksum.Add(std::span(bytes).subspan(cut));
    CHECK(checksum.Partial() == 0xddf2);
  }
  Checksum odd;
  odd.Add(Bytes{0x12, 0x34, 0x56});
  CHECK(odd.Partial() == 0x1234 + 0x5600);
}

TEST_CASE("an IPv4 packet is a view of its bytes without the padding") {
  Bytes bytes = IpPacket(Far(Ip::kV4), kProtocolUdp, Bytes(9));
  bytes.resize(60);
  auto parsed = ParseIp(EtherType::kIpv4, bytes);
  REQUIRE(std::holds_alternative<Packet>(parsed));
  const Packet& packet = std::get<Packet>(parsed);
  CHECK(packet.whole.size() == 29);
  CHECK(packet.payload.size() == 9);
  CHECK_FALSE(packet.fragment);
  CHECK(ToIpAddress(packet.destination()) == Far(Ip::kV4));
}

TEST_CASE("every cut of a packet is malformed") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    const Bytes whole = IpPacket(Far(ip), kProtocolUdp, Bytes(9));
    const EtherType type = ip == Ip::kV4 ? EtherType::kIpv4 : EtherType::kIpv6;
    for (size_t size = 0; size < whole.size(); ++size) {
      CHECK(DropOf(type, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))) ==
            Drop::kMalformed);
    }
  }
}

TEST_CASE("lengths and versions that contradict each other are malformed") {
  const Bytes good = IpPacket(Far(Ip::kV4), kProtocolUdp, Bytes(9));
  Bytes short_header = good;
  short_header[0] = 0x44;  // Four words.
  CHECK(DropOf(EtherType::kIpv4, short_header) == Drop::kMalformed);
  Bytes total_below_header = good;
  Store16(&total_below_header[2], 19);
  CHECK(DropOf(EtherType::kIpv4, total_below_header) == Drop::kMalformed);
  Bytes long_header = good;
  long_header[0] = 0x4f;  // 60 bytes of 29.
  CHECK(DropOf(EtherType::kIpv4, long_header) == Drop::kMalformed);
  CHECK(DropOf(EtherType::kIpv6, good) == Drop::kMalformed);
  CHECK(DropOf(EtherType::kIpv4, IpPacket(Far(Ip::kV6), kProtocolUdp, Bytes(9))) ==
        Drop::kMalformed);
}

TEST_CASE("IPv4 options, a wrong header checksum and IPv6 extension headers are refused") {
  Bytes options = IpPacket(Far(Ip::kV4), kProtocolUdp, Bytes(9));
  options[0] = 0x46;  // One word of options.
  CHECK(DropOf(EtherType::kIpv4, options) == Drop::kHeaderOption);
  Bytes wrong = IpPacket(Far(Ip::kV4), kProtocolUdp, Bytes(9));
  wrong[8] ^= 1;
  CHECK(DropOf(EtherType::kIpv4, wrong) == Drop::kChecksum);
  for (const uint8_t header : Bytes{0, 43, 50, 51, 60, 135, 139, 140}) {
    CHECK(DropOf(EtherType::kIpv6, IpPacket(Far(Ip::kV6), header, Bytes(16))) ==
          Drop::kHeaderOption);
  }
}

TEST_CASE("a TCP header must lie in its packet, have ports, and no flags beside SYN") {
  const auto parse = [](Bytes message) {
    Bytes bytes = IpPacket(Far(Ip::kV4), kProtocolTcp, message);
    auto parsed = ParseIp(EtherType::kIpv4, bytes);
    return ParseTcp(std::get<Packet>(parsed)).has_value();
  };
  const auto message = [](uint8_t flags, uint16_t port = 80) {
    return TcpMessage(Far(Ip::kV4), {.source_port = 1, .destination_port = port, .flags = flags});
  };
  CHECK(parse(message(kSyn)));
  CHECK(parse(message(kFin | kAck)));
  CHECK_FALSE(parse(message(kSyn, 0)));
  for (const uint8_t flag : {kAck, kFin, kRst}) {
    CHECK_FALSE(parse(message(static_cast<uint8_t>(kSyn | flag))));
  }
  Bytes short_header = message(kSyn);
  short_header[12] = 0x40;
  CHECK_FALSE(parse(short_header));
  Bytes long_header = message(kSyn);
  long_header[12] = 0x60;
  CHECK_FALSE(parse(long_header));
  CHECK_FALSE(parse(Bytes(19)));
}

TEST_CASE("a TCP option that is cut off makes the segment malformed") {
  const auto parse = [](const Bytes& options) {
    Bytes bytes = IpPacket(
        Far(Ip::kV4), kProtocolTcp,
        TcpMessage(Far(Ip::kV4),
                   {.source_port = 1, .destination_port = 80, .flags = kSyn, .options = options}));
    auto parsed = ParseIp(EtherType::kIpv4, bytes);
    return ParseTcp(std::get<Packet>(parsed)).has_value();
  };
  CHECK(parse({2, 4, 5, 180}));
  CHECK(parse({1, 1, 1, 0}));
  CHECK(parse({0, 2, 0, 3}));        // Nothing after the end matters.
  CHECK_FALSE(parse({1, 1, 1, 2}));  // No length.
  CHECK_FALSE(parse({1, 1, 2, 4}));  // No value.
  CHECK_FALSE(parse({3, 1, 1, 1}));  // A length that does not count itself.
  CHECK_FALSE(parse({3, 0, 1, 1}));
}

// ---- Datagrams that a kernel left in one frame.

Bytes NextOf(DatagramCutter& cutter) {
  Bytes frame(2000);
  frame.resize(cutter.Next(frame));
  return frame;
}

TEST_CASE("a frame with several datagrams becomes frames with one each") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    const std::string data(1100, 'q');
    Bytes frame = IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), 1000, 53, data));
    frame.resize(frame.size() + 3);  // Padding is no payload.
    DatagramCutter cutter;
    REQUIRE(cutter.Start(frame, 500));
    for (const size_t expected : {500u, 500u, 100u}) {
      REQUIRE(cutter.pending());
      Bytes piece = NextOf(cutter);
      const auto type = static_cast<EtherType>(Load16(&piece[12]));
      const auto parsed = ParseIp(type, std::span(piece).subspan(kEthernetHeader));
      REQUIRE(std::holds_alternative<Packet>(parsed));
      const Packet& packet = std::get<Packet>(parsed);
      CHECK(packet.protocol == kProtocolUdp);
      CHECK(ToIpAddress(packet.destination()) == Far(ip));
      CHECK(packet.payload.size() == 8 + expected);
      CHECK(Load16(&packet.payload[4]) == 8 + expected);
      CHECK(Load16(packet.payload.data()) == 1000);
      CHECK(packet.payload.back() == 'q');
    }
    CHECK_FALSE(cutter.pending());
  }
}

TEST_CASE("what is not several datagrams stays as it is") {
  DatagramCutter cutter;
  const auto udp = IpFrame(Far(Ip::kV4), kProtocolUdp,
                           UdpMessage(Far(Ip::kV4), 1000, 53, std::string(500, 'q')));
  CHECK_FALSE(cutter.Start(udp, 500));
  CHECK_FALSE(cutter.Start(udp, 0));
  CHECK_FALSE(cutter.Start(IpFrame(Far(Ip::kV4), kProtocolTcp, Bytes(600)), 500));
  CHECK_FALSE(cutter.Start(EthernetFrame(0x0806, Bytes(600)), 500));
  for (size_t size = 0; size < udp.size(); ++size) {
    CHECK_FALSE(cutter.Start(std::span(udp).first(size), 100));
    CHECK_FALSE(cutter.pending());
  }
}

}  // namespace
}  // namespace sallyport::netstack
