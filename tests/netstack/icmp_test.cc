#include <catch2/catch.hpp>

#include <string>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

TEST_CASE("the gateway answers pings") {
  Fixture net;
  for (const IpAddress& gateway : {TestOptions().gateway_v4, TestOptions().gateway_v6}) {
    net.seen.clear();
    const bool v4 = gateway.is_v4();
    net.link->Push(
        IpFrame(gateway, v4 ? kProtocolIcmp : kProtocolIcmp6, EchoRequest(gateway, "hello")));
    net.Settle();
    REQUIRE(net.seen.size() == 1);
    CHECK(net.seen[0].source == gateway);
    CHECK(net.seen[0].message[0] == (v4 ? 0 : 129));
    CHECK(Load16(&net.seen[0].message[4]) == 0x1234);
    CHECK(std::string(net.seen[0].message.begin() + 8, net.seen[0].message.end()) == "hello");
  }
}

TEST_CASE("what can't be reached is told at a bounded rate") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    for (int count = 0; count < 1000; ++count) {
      net.link->Push(IpFrame(Far(ip), 132, Bytes(16)));  // SCTP.
    }
    REQUIRE(net.RunUntil([&] { return net.stack->stats().frames_in == 1000; }));
    REQUIRE(net.seen.size() >= 100);
    CHECK(net.seen.size() < 900);
    CHECK(net.stack->stats().dropped(Drop::kRateLimited) == 1000 - net.seen.size());
    CHECK(net.seen[0].source ==
          (ip == Ip::kV4 ? TestOptions().gateway_v4 : TestOptions().gateway_v6));
    CHECK(net.seen[0].message[0] == (ip == Ip::kV4 ? 3 : 1));
    CHECK(net.seen[0].message[1] == (ip == Ip::kV4 ? 13 : 1));
  }
}

TEST_CASE("protocols that nobody serves are prohibited") {
  Fixture net;
  for (const Ip ip : {Ip::kV4, Ip::kV6}) net.link->Push(IpFrame(Far(ip), 132, Bytes(16)));  // SCTP.
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolIcmp6, Bytes(16)));
  net.Settle();
  CHECK(net.seen.size() == 3);
}

// 28 bytes of ARP from the guest, asking for TARGET.
Bytes ArpRequest(std::array<uint8_t, 4> target) {
  Bytes packet{0, 1, 8, 0, 6, 4, 0,  1,         // Ethernet, IPv4, a request
               2, 0, 0, 0, 0, 2, 10, 0, 2, 15,  // from the guest
               0, 0, 0, 0, 0, 0};               // to whoever has
  packet.insert(packet.end(), target.begin(), target.end());
  return packet;
}

TEST_CASE("ARP is answered for every address but the guest's own") {
  Fixture net;
  net.link->Push(EthernetFrame(0x0806, ArpRequest({10, 0, 2, 2})));
  net.link->Push(EthernetFrame(0x0806, ArpRequest({10, 0, 2, 99})));
  net.link->Push(EthernetFrame(0x0806, ArpRequest({10, 0, 2, 15})));
  net.Settle();
  REQUIRE(net.seen.size() == 2);
  const Bytes expected{0, 1, 8, 0, 6, 4, 0,  2,          // A reply
                       2, 0, 0, 0, 0, 1, 10, 0, 2, 2,    // from the gateway
                       2, 0, 0, 0, 0, 2, 10, 0, 2, 15};  // to the guest.
  CHECK(net.seen[0].message == expected);
  CHECK(net.seen[1].message[17] == 99);

  Bytes spoofed = ArpRequest({10, 0, 2, 2});
  spoofed[13] = 9;
  net.link->Push(EthernetFrame(0x0806, spoofed));
  Bytes cut = ArpRequest({10, 0, 2, 2});
  cut.pop_back();
  net.link->Push(EthernetFrame(0x0806, cut));
  net.Settle();
  CHECK(net.seen.size() == 2);
  CHECK(net.stack->stats().dropped(Drop::kSpoofed) == 1);
  CHECK(net.stack->stats().dropped(Drop::kMalformed) == 1);
}

// A neighbour solicitation for TARGET.
Bytes Solicitation(const IpAddress& target, const IpAddress& source, const IpAddress& group) {
  Bytes message{135, 0, 0, 0, 0, 0, 0, 0};
  message.insert(message.end(), target.bytes().begin(), target.bytes().end());
  Checksum checksum;
  checksum.AddPseudoHeader(source.bytes(), group.bytes(), kProtocolIcmp6, message.size());
  checksum.Add(message);
  Store16(&message[2], checksum.Finish());
  return message;
}

TEST_CASE("neighbour solicitations are answered, but not the guest's for its own addresses") {
  Fixture net;
  const IpAddress group = *IpAddress::Parse("ff02::1:ff00:2");
  const IpAddress gateway = TestOptions().gateway_v6;
  const IpAddress guest = TestOptions().guest_v6;
  const IpAddress local = *IpAddress::Parse("fe80::2");
  const IpAddress none = *IpAddress::Parse("::");
  const auto ask = [&](const IpAddress& target, const IpAddress& source) {
    net.link->Push(IpFrame(group, kProtocolIcmp6, Solicitation(target, source, group), source));
    net.Settle();
  };
  ask(gateway, guest);
  REQUIRE(net.seen.size() == 1);
  CHECK(net.seen[0].message[0] == 136);
  CHECK(net.seen[0].source == gateway);
  CHECK(net.seen[0].destination == guest);
  CHECK(Bytes(net.seen[0].message.begin() + 24, net.seen[0].message.end()) ==
        Bytes{2, 1, 2, 0, 0, 0, 0, 1});  // Target link-layer address: the gateway's.
  ask(gateway, local);
  CHECK(net.seen.size() == 2);
  ask(guest, guest);
  ask(guest, none);
  ask(local, none);
  CHECK(net.seen.size() == 2);
  ask(gateway, *IpAddress::Parse("fd00:5a11::99"));
  CHECK(net.seen.size() == 2);
  CHECK(net.stack->stats().dropped(Drop::kSpoofed) == 1);
}

TEST_CASE("what is not from the guest or not for the gateway is dropped and counted") {
  Fixture net;
  const auto drops = [&](Drop reason) { return net.stack->stats().dropped(reason); };
  const Bytes good = IpFrame(Far(Ip::kV4), kProtocolUdp, UdpMessage(Far(Ip::kV4), 1, 2, "x"));

  Bytes other_mac = good;
  other_mac[11] ^= 1;
  net.link->Push(other_mac);
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, UdpMessage(Far(Ip::kV4), 1, 2, "x"),
                         IpAddress::V4(10, 0, 2, 16)));
  net.link->Push(IpFrame(Far(Ip::kV6), kProtocolUdp, UdpMessage(Far(Ip::kV6), 1, 2, "x"),
                         *IpAddress::Parse("2001:db8::1")));
  net.Settle();
  CHECK(drops(Drop::kSpoofed) == 3);

  Bytes other_station = good;
  other_station[5] ^= 1;
  net.link->Push(other_station);
  Bytes unknown_type = good;
  unknown_type[12] = 0x81;  // A VLAN tag.
  net.link->Push(unknown_type);
  const IpAddress group = IpAddress::V4(224, 0, 0, 251);
  net.link->Push(IpFrame(group, kProtocolUdp, UdpMessage(group, 5353, 5353, "x")));
  const IpAddress local = *IpAddress::Parse("fe80::2");
  net.link->Push(IpFrame(Far(Ip::kV6), kProtocolUdp, Bytes(8), local));
  net.Settle();
  CHECK(drops(Drop::kNotForUs) == 4);

  const IpAddress itself = TestOptions().guest_v4;
  net.link->Push(IpFrame(itself, kProtocolUdp, UdpMessage(itself, 1, 2, "x")));
  net.link->Push(IpFrame(IpAddress(), kProtocolUdp, UdpMessage(IpAddress(), 1, 2, "x")));
  net.link->Push(Bytes(13));
  net.link->Push({});
  net.Settle();
  CHECK(drops(Drop::kMalformed) == 4);

  Bytes bad_sum =
      IpFrame(Far(Ip::kV4), kProtocolTcp,
              TcpMessage(Far(Ip::kV4), {.source_port = 1, .destination_port = 2, .flags = kSyn}));
  bad_sum[14 + 20 + 4] ^= 1;
  net.link->Push(bad_sum);
  net.Settle();
  CHECK(drops(Drop::kChecksum) == 1);
  CHECK(net.decider.asked.empty());
  CHECK(net.seen.empty());
}

}  // namespace
}  // namespace sallyport::netstack
