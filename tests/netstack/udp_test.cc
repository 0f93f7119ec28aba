#include <sys/socket.h>

#include <catch2/catch.hpp>

#include <string>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

void SendUdp(Fixture& net, Ip ip, std::string_view data, uint16_t source_port = 5000,
             uint16_t port = 53) {
  net.link->Push(IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), source_port, port, data)));
}

IpAddress Guest(Ip ip) {
  return ip == Ip::kV4 ? TestOptions().guest_v4 : TestOptions().guest_v6;
}

// Answers each datagram with itself, twice, and keeps the last reply.
struct Doubler final : DatagramService {
  void OnDatagram(const FlowInfo& flow, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    flows.push_back(flow.id);
    reply(payload);
    reply(payload);
    last = std::move(reply);
  }
  std::vector<uint64_t> flows;
  std::function<void(std::string_view)> last;
};

TEST_CASE("a served datagram is answered, on one flow, and the flow ends by silence") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    StackOptions options = TestOptions();
    options.udp_served_idle_timeout = std::chrono::milliseconds(10);
    Doubler service;
    Fixture net(options);
    net.decider.answer = [&](const FlowInfo&) { return ServeFlow{&service}; };
    SendUdp(net, ip, "one");
    SendUdp(net, ip, "two");
    REQUIRE(net.RunUntil([&] { return net.seen.size() == 4; }));
    CHECK(net.decider.asked.size() == 1);
    CHECK(net.decider.asked[0].destination == Endpoint{Far(ip), 53});
    CHECK(net.seen[0].data == "one");
    CHECK(net.seen[3].data == "two");
    CHECK(net.seen[3].source == Far(ip));
    CHECK(net.seen[3].source_port == 53);
    CHECK(net.seen[3].destination_port == 5000);
    CHECK(service.flows.size() == 2);

    REQUIRE(net.RunUntil([&] { return net.decider.ended.size() == 1; }));
    CHECK(net.decider.ended[0].second.bytes_up == 6);
    CHECK(net.decider.ended[0].second.bytes_down == 12);
    service.last("too late");
    net.Settle();
    CHECK(net.seen.size() == 4);
    net.stack.reset();
    service.last("much too late");
  }
}

TEST_CASE("a datagram to a group goes nowhere, and the decider is told of each that is sound") {
  Fixture net;
  const IpAddress groups[] = {IpAddress::V4(224, 0, 0, 251), IpAddress::V4(255, 255, 255, 255),
                              *IpAddress::Parse("ff02::fb")};
  for (const IpAddress& group : groups) {
    net.link->Push(IpFrame(group, kProtocolUdp, UdpMessage(group, 5353, 5353, "x")));
  }
  net.link->Push(IpFrame(groups[0], kProtocolUdp, Bytes(7)));
  net.link->Push(IpFrame(groups[0], kProtocolTcp, Bytes(20)));
  net.Settle();
  CHECK(net.decider.asked.empty());
  CHECK(net.seen.empty());
  REQUIRE(net.decider.refused.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(net.decider.refused[i].first.destination == Endpoint{groups[i], 5353});
    CHECK(net.decider.refused[i].second == Drop::kNotForUs);
  }
  CHECK(net.stack->stats().dropped(Drop::kNotForUs) == 5);
}

TEST_CASE("a spliced flow relays datagrams both ways") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    SocketPair pair = UdpPair();
    auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
    Fixture net;
    net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
    SendUdp(net, ip, "ping");
    SendUdp(net, ip, "");
    std::vector<std::string> got;
    REQUIRE(net.RunUntil([&] {
      if (auto some = ReadSome(pair.theirs.get())) got.push_back(*some);
      return got.size() == 2;
    }));
    CHECK(got == std::vector<std::string>{"ping", ""});
    send(pair.theirs.get(), "pong", 4, 0);
    REQUIRE(net.RunUntil([&] { return net.seen.size() == 1; }));
    CHECK(net.seen[0].data == "pong");
    CHECK(net.seen[0].source == Far(ip));
  }
}

TEST_CASE("a denial is told by ICMP, remembered for a while, and then asked about again") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    StackOptions options = TestOptions();
    options.udp_denied_memory = std::chrono::milliseconds(50);
    Fixture net(options);
    net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
    SendUdp(net, ip, "one");
    SendUdp(net, ip, "two");
    net.Settle();
    SendUdp(net, ip, "three");
    net.Settle();
    CHECK(net.decider.asked.size() == 1);
    REQUIRE(net.seen.size() == 3);
    for (const Seen& seen : net.seen) {
      CHECK(seen.message[0] == (ip == Ip::kV4 ? 3 : 1));   // Destination unreachable,
      CHECK(seen.message[1] == (ip == Ip::kV4 ? 13 : 1));  // administratively prohibited.
      const size_t udp = 8 + (ip == Ip::kV4 ? 20 : 40);
      REQUIRE(seen.message.size() >= udp + 8);
      CHECK(Load16(&seen.message[udp]) == 5000);
      CHECK(Load16(&seen.message[udp + 2]) == 53);
    }
    REQUIRE(net.RunUntil([&] { return net.stack->stats().udp_flows == 0; }));
    SendUdp(net, ip, "four");
    net.Settle();
    CHECK(net.decider.asked.size() == 2);
    CHECK(net.decider.ended.empty());
  }
}

TEST_CASE("other refusals have their own ICMP codes") {
  const auto code = [](DenyFlow::As as, Ip ip) {
    Fixture net;
    net.decider.answer = [as](const FlowInfo&) { return DenyFlow{as}; };
    SendUdp(net, ip, "x");
    net.Settle();
    REQUIRE(net.seen.size() == 1);
    return net.seen[0].message[1];
  };
  CHECK(code(DenyFlow::As::kRefused, Ip::kV4) == 3);  // Port.
  CHECK(code(DenyFlow::As::kRefused, Ip::kV6) == 4);
  CHECK(code(DenyFlow::As::kUnreachable, Ip::kV4) == 1);  // Host.
  CHECK(code(DenyFlow::As::kTimedOut, Ip::kV6) == 3);     // Address.
}

TEST_CASE("a port that nobody listens on is told to the guest") {
  SocketPair pair = UdpPair();
  pair.theirs.reset();
  auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
  Fixture net;
  net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
  SendUdp(net, Ip::kV4, "x");
  REQUIRE(net.RunUntil([&] { return net.seen.size() == 1; }));
  CHECK(net.seen[0].message[0] == 3);
  CHECK(net.seen[0].message[1] == 3);
}

TEST_CASE("datagrams wait for the verdict, as many as are allowed") {
  Doubler service;
  Fixture net;
  for (int count = 0; count < 40; ++count) SendUdp(net, Ip::kV4, "x");
  net.Settle();
  REQUIRE(net.decider.asked.size() == 1);
  CHECK(net.stack->stats().dropped(Drop::kMemoryLimit) == 24);
  CHECK(net.stack->stats().buffered_bytes > 0);
  net.decider.Answer(net.decider.asked[0].id, ServeFlow{&service});
  net.Settle();
  CHECK(service.flows.size() == 16);
  CHECK(net.stack->stats().buffered_bytes == 0);
}

TEST_CASE("a flood of refused flows does not keep out a granted one") {
  StackOptions options = TestOptions();
  options.max_udp_flows = 8;
  Doubler service;
  Fixture net(options);
  net.decider.answer = [&](const FlowInfo& flow) -> FlowVerdict {
    if (flow.destination.port == 53) return ServeFlow{&service};
    return DenyFlow{};
  };
  for (uint16_t port = 1000; port < 1100; ++port) {
    SendUdp(net, Ip::kV4, "x", 5000, port);
    net.Turn();
  }
  CHECK(net.stack->stats().udp_flows <= 8);
  SendUdp(net, Ip::kV4, "x");
  net.Settle();
  CHECK(service.flows.size() == 1);
}

TEST_CASE("over the limit of relayed flows datagrams are refused, until one ends") {
  StackOptions options = TestOptions();
  options.max_udp_flows = 2;
  std::vector<UniqueFd> hosts;
  Fixture net(options);
  net.decider.answer = [&](const FlowInfo&) {
    auto pair = UdpPair();
    hosts.push_back(std::move(pair.theirs));
    return SpliceFlow{std::move(pair.ours)};
  };
  for (uint16_t port = 1; port <= 3; ++port) {
    SendUdp(net, Ip::kV4, "x", 5000, port);
    net.Settle();
  }
  CHECK(net.decider.asked.size() == 2);
  CHECK(net.stack->stats().dropped(Drop::kFlowLimit) == 1);
  CHECK(net.seen.back().message[1] == 13);
  CHECK(net.stack->CutFlow(net.decider.asked[0].id));
  SendUdp(net, Ip::kV4, "x", 5000, 3);
  net.Settle();
  CHECK(net.decider.asked.size() == 3);
}

TEST_CASE("at the limit a flow takes the place of the longest silent one that a service answers") {
  StackOptions options = TestOptions();
  options.max_udp_flows = 3;
  Doubler service;
  auto pair = UdpPair();
  Fixture net(options);
  net.decider.answer = [&](const FlowInfo& flow) -> FlowVerdict {
    if (flow.destination.port == 53) return ServeFlow{&service};
    return SpliceFlow{std::move(pair.ours)};
  };
  SendUdp(net, Ip::kV4, "relayed", 4999, 7);
  net.Settle();
  for (const uint16_t source : {uint16_t{5000}, uint16_t{5001}, uint16_t{5000}}) {
    SendUdp(net, Ip::kV4, "x", source, 53);
    net.Settle();
  }
  SendUdp(net, Ip::kV4, "x", 5002, 53);
  net.Settle();
  CHECK(net.stack->stats().dropped(Drop::kFlowLimit) == 0);
  CHECK(net.stack->stats().udp_flows == 3);
  REQUIRE(net.decider.ended.size() == 1);
  CHECK(net.decider.ended[0].first.source.port == 5001);
  CHECK(net.seen.back().destination_port == 5002);

  for (uint16_t source = 6000; source < 6100; ++source) SendUdp(net, Ip::kV4, "x", source, 53);
  net.Settle();
  CHECK(net.stack->stats().udp_flows == 3);
  const bool relayed_ended = std::ranges::any_of(
      net.decider.ended, [](const auto& end) { return end.first.source.port == 4999; });
  CHECK_FALSE(relayed_ended);
}

TEST_CASE("lengths that disagree and wrong checksums are dropped") {
  Fixture net;
  Bytes message = UdpMessage(Far(Ip::kV4), 5000, 53, "abc");
  Bytes wrong = message;
  wrong[8] ^= 1;
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, wrong));
  Bytes shorter = message;
  Store16(&shorter[4], 10);
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, shorter));
  Bytes longer = message;
  Store16(&longer[4], 12);
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, longer));
  Bytes none6 = UdpMessage(Far(Ip::kV6), 5000, 53, "abc");
  Store16(&none6[6], 0);
  net.link->Push(IpFrame(Far(Ip::kV6), kProtocolUdp, none6));
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, Bytes(7)));
  net.Settle();
  CHECK(net.decider.asked.empty());
  CHECK(net.stack->stats().dropped(Drop::kChecksum) == 2);
  CHECK(net.stack->stats().dropped(Drop::kMalformed) == 3);

  Bytes none4 = message;
  Store16(&none4[6], 0);  // IPv4 lets a datagram have none.
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, none4));
  net.Settle();
  CHECK(net.decider.asked.size() == 1);
}

TEST_CASE("the largest datagram, in fragments of any order, is one datagram; so is the answer") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Doubler service;
    std::string data(65'507, 'x');  // UDP's largest over IPv4.
    for (size_t at = 0; at < data.size(); ++at) data[at] = static_cast<char>(at * 7);
    Fixture net;
    net.decider.answer = [&](const FlowInfo&) { return ServeFlow{&service}; };
    const Bytes message = UdpMessage(Far(ip), 5000, 53, data);
    std::vector<Bytes> frames = Fragments(Far(ip), kProtocolUdp, message);
    std::swap(frames.front(), frames.back());
    for (const Bytes& frame : frames) net.link->Push(frame);
    net.Settle();
    REQUIRE(service.flows.size() == 1);
    CHECK(net.decider.asked.size() == 1);
    // The answer, twice. Each fragment has been read by Read(): its lengths and sums are right.
    const size_t count = ip == Ip::kV4 ? 45 : 46;
    REQUIRE(net.seen.size() == 2 * count);
    Bytes answer;
    for (size_t at = 0; at < count; ++at) {
      const Seen& seen = net.seen[at];
      CHECK(seen.part.offset == answer.size());
      CHECK(seen.part.id == net.seen[0].part.id);
      CHECK(seen.part.more == (at + 1 < count));
      answer.insert(answer.end(), seen.message.begin(), seen.message.end());
    }
    CHECK(std::string(answer.begin() + 8, answer.end()) == data);
    CHECK(net.seen[count].part.id != net.seen[0].part.id);
    // Its checksum is the whole datagram's.
    Checksum checksum;
    checksum.AddPseudoHeader(Far(ip).bytes(), Guest(ip).bytes(), kProtocolUdp, answer.size());
    checksum.Add(answer);
    CHECK(checksum.Finish() == 0);
  }
}

TEST_CASE("a datagram that no packet can hold is dropped and counted") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Doubler service;
    Fixture net;
    net.decider.answer = [&](const FlowInfo&) { return ServeFlow{&service}; };
    SendUdp(net, ip, "x");
    net.Settle();
    const size_t largest = ip == Ip::kV4 ? 65'507 : 65'527;
    service.last(std::string(largest, 'x'));
    net.Settle();
    CHECK(net.stack->stats().dropped(Drop::kTooLarge) == 0);
    service.last(std::string(largest + 1, 'x'));
    net.Settle();
    CHECK(net.stack->stats().dropped(Drop::kTooLarge) == 1);
  }
}

TEST_CASE("a datagram that the host's socket has no room for is dropped and counted") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd theirs(ends[1]);  // Reads nothing.
  auto ours = std::make_shared<UniqueFd>(ends[0]);
  Fixture net;
  net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
  for (int count = 0; count < 2000; ++count) {
    SendUdp(net, Ip::kV4, std::string(1000, 'x'));
    if (count % 50 == 0) net.Settle();
  }
  net.Settle();
  const auto& stats = net.stack->stats();
  CHECK(stats.dropped(Drop::kSocketFull) > 0);
  CHECK(stats.dropped(Drop::kSocketFull) < 2000);
  CHECK(stats.udp_flows == 1);
}

TEST_CASE("a verdict that is not for datagrams denies") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) {
    return AcceptFlow{[](std::unique_ptr<Stream>) { FAIL("a stream over UDP"); }};
  };
  SendUdp(net, Ip::kV4, "x");
  net.Settle();
  CHECK(net.seen.at(0).message[1] == 13);
}

}  // namespace
}  // namespace sallyport::netstack
