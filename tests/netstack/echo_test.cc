// Pings of others than the gateway. The ping socket is played by a UDP one over loopback, whose
// datagrams are the ICMP messages: it tells errors, and who sent what, as a ping socket does.

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/echo_flow.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

void Ping(Fixture& net, Ip ip, std::string_view data, uint16_t sequence = 1,
          uint16_t identifier = 0x1234) {
  net.link->Push(IpFrame(Far(ip), ip == Ip::kV4 ? kProtocolIcmp : kProtocolIcmp6,
                         EchoRequest(Far(ip), data, sequence, identifier)));
}

// A decider that grants one flow, and the host at the other end of its socket.
struct Host {
  explicit Host(Fixture& net, std::unique_ptr<FlowMeter> meter = nullptr) : net_(net) {
    auto ours = std::make_shared<SpliceFlow>(SpliceFlow{std::move(pair.ours), std::move(meter)});
    net.decider.answer = [ours](const FlowInfo&) { return std::move(*ours); };
  }
  // The next request that arrives.
  std::string Receive() {
    std::optional<std::string> got;
    REQUIRE(net_.RunUntil([&] { return (got = ReadSome(pair.theirs.get())).has_value(); }));
    return *got;
  }
  // An IPv4 echo reply, with an identifier that is not the guest's.
  void Reply(uint16_t sequence, const std::string& payload, char type = 0, char code = 0) {
    std::string message{type, code, 0, 0, 0x7f, 0x01, 0, 0};
    message[6] = static_cast<char>(sequence >> 8);
    message[7] = static_cast<char>(sequence);
    message += payload;
    Send(message);
  }
  void Send(const std::string& message) {
    REQUIRE(send(pair.theirs.get(), message.data(), message.size(), 0) ==
            static_cast<ssize_t>(message.size()));
  }

  SocketPair pair = UdpPair();

 private:
  Fixture& net_;
};

std::string PayloadOf(const Seen& seen) {
  return {seen.message.begin() + 8, seen.message.end()};
}

// Of an error, behind the IP header that it quotes.
uint16_t QuotedSequence(const Seen& seen) {
  const size_t echo = 8 + (seen.v6 ? kIpv6Header : kIpv4Header);
  REQUIRE(seen.message.size() >= echo + 8);
  CHECK(seen.message[echo] == (seen.v6 ? 128 : 8));
  CHECK(Load16(&seen.message[echo + 4]) == 0x1234);
  return Load16(&seen.message[echo + 6]);
}

TEST_CASE("a granted ping is relayed, and its reply comes from where the guest sent it") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    Host host(net);
    Ping(net, ip, "hello", 7);
    std::string request = host.Receive();
    // The host's side is IPv4, whatever the guest speaks.
    CHECK(request == std::string("\x08\0\0\0\0\0\0\x07hello", 13));
    host.Reply(7, "hello");
    REQUIRE(net.RunUntil([&] { return net.seen.size() == 1; }));
    CHECK(net.seen[0].source == Far(ip));
    CHECK(net.seen[0].message[0] == (ip == Ip::kV4 ? 0 : 129));
    CHECK(Load16(&net.seen[0].message[4]) == 0x1234);
    CHECK(Load16(&net.seen[0].message[6]) == 7);
    CHECK(PayloadOf(net.seen[0]) == "hello");

    Ping(net, ip, "again", 8);
    CHECK(host.Receive().substr(7) ==
          "\x08"
          "again");
    REQUIRE(net.decider.asked.size() == 1);
    CHECK(net.decider.asked[0].transport == Transport::kIcmp);
    CHECK(net.decider.asked[0].destination == Endpoint{Far(ip), 0});
    CHECK(net.decider.asked[0].source.port == 0x1234);
    CHECK(net.stack->stats().echo_flows == 1);
  }
}

TEST_CASE("each destination and identifier is decided once, and ends by silence") {
  StackOptions options = TestOptions();
  options.echo_idle_timeout = std::chrono::milliseconds(20);
  Fixture net(options);
  Host host(net);
  Ping(net, Ip::kV4, "abc");
  host.Receive();
  host.Reply(1, "abcd");
  REQUIRE(net.RunUntil([&] { return net.seen.size() == 1; }));
  REQUIRE(net.RunUntil([&] { return net.decider.ended.size() == 1; }));
  CHECK(net.decider.ended[0].second.bytes_up == 3);
  CHECK(net.decider.ended[0].second.bytes_down == 4);
  CHECK(net.stack->stats().echo_flows == 0);

  net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
  Ping(net, Ip::kV4, "x", 1, 1);
  Ping(net, Ip::kV4, "x", 1, 2);
  Ping(net, Ip::kV6, "x", 1, 2);
  net.Settle();
  CHECK(net.decider.asked.size() == 4);
  CHECK(net.decider.ended.size() == 1);
}

TEST_CASE("a ping that is denied is prohibited, again and again without asking") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    StackOptions options = TestOptions();
    options.udp_denied_memory = std::chrono::milliseconds(50);
    Fixture net(options);
    net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
    Ping(net, ip, "one", 1);
    Ping(net, ip, "two", 2);
    net.Settle();
    Ping(net, ip, "three", 3);
    net.Settle();
    CHECK(net.decider.asked.size() == 1);
    REQUIRE(net.seen.size() == 3);
    for (uint16_t i = 0; i < 3; ++i) {
      CHECK(net.seen[i].message[0] == (ip == Ip::kV4 ? 3 : 1));
      CHECK(net.seen[i].message[1] == (ip == Ip::kV4 ? 13 : 1));
      CHECK(QuotedSequence(net.seen[i]) == i + 1);
    }
    REQUIRE(net.RunUntil([&] { return net.stack->stats().echo_flows == 0; }));
    Ping(net, ip, "four");
    net.Settle();
    CHECK(net.decider.asked.size() == 2);
  }
}

TEST_CASE("a destination that can't be reached is told as unreachable") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) { return DenyFlow{DenyFlow::As::kUnreachable}; };
  Ping(net, Ip::kV4, "x");
  Ping(net, Ip::kV6, "x");
  net.Settle();
  REQUIRE(net.seen.size() == 2);
  CHECK(net.seen[0].message[1] == 1);
  CHECK(net.seen[1].message[1] == 3);
}

TEST_CASE("what the network says of a ping is told to the guest, with the ping that it is about") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    Host host(net);
    host.pair.theirs.reset();
    Ping(net, ip, "x", 9);
    REQUIRE(net.RunUntil([&] { return net.seen.size() == 1; }));
    CHECK(net.seen[0].message[0] == (ip == Ip::kV4 ? 3 : 1));
    CHECK(net.seen[0].message[1] == (ip == Ip::kV4 ? 1 : 3));
    CHECK(QuotedSequence(net.seen[0]) == 9);
    // The flow goes on: the next one is sent, and told likewise.
    Ping(net, ip, "x", 10);
    REQUIRE(net.RunUntil([&] { return net.seen.size() == 2; }));
    CHECK(QuotedSequence(net.seen[1]) == 10);
    CHECK(net.stack->stats().echo_flows == 1);
    CHECK(net.decider.asked.size() == 1);
  }
}

TEST_CASE("only replies, and no more than requests, come back") {
  Fixture net;
  Host host(net);
  Ping(net, Ip::kV4, "a", 1);
  host.Receive();
  host.Send("short");
  host.Reply(1, "request", 8);
  host.Reply(1, "code", 0, 1);
  host.Reply(1, std::string(kMaxEchoPayload + 1, 'x'));
  host.Reply(1, "first");
  host.Reply(1, "second");
  host.Reply(2, "unasked");
  REQUIRE(net.RunUntil([&] { return !net.seen.empty(); }));
  net.Settle();
  REQUIRE(net.seen.size() == 1);
  CHECK(PayloadOf(net.seen[0]) == "first");
  Ping(net, Ip::kV4, "b", 3);
  host.Receive();
  host.Reply(3, "third");
  REQUIRE(net.RunUntil([&] { return net.seen.size() == 2; }));
  CHECK(PayloadOf(net.seen[1]) == "third");
}

TEST_CASE("pings wait for the verdict, a few of them") {
  Fixture net;
  for (uint16_t sequence = 1; sequence <= 6; ++sequence) Ping(net, Ip::kV4, "x", sequence);
  net.Settle();
  REQUIRE(net.decider.asked.size() == 1);
  CHECK(net.stack->stats().dropped(Drop::kMemoryLimit) == 2);
  CHECK(net.stack->stats().buffered_bytes > 0);
  SocketPair pair = UdpPair();
  net.decider.Answer(net.decider.asked[0].id, SpliceFlow{std::move(pair.ours)});
  net.Settle();
  CHECK(net.stack->stats().buffered_bytes == 0);
  for (char sequence = 1; sequence <= 4; ++sequence) {
    const auto got = ReadSome(pair.theirs.get());
    REQUIRE(got);
    CHECK((*got)[7] == sequence);
  }
  CHECK_FALSE(ReadSome(pair.theirs.get()));
}

TEST_CASE("pings are bounded in size, number and rate") {
  StackOptions options = TestOptions();
  options.max_echo_flows = 4;
  Fixture net(options);
  for (const Bytes& frame :
       Fragments(Far(Ip::kV4), kProtocolIcmp, EchoRequest(Far(Ip::kV4), std::string(8193, 'x')))) {
    net.link->Push(frame);
  }
  net.Settle();
  CHECK(net.decider.asked.empty());
  CHECK(net.stack->stats().dropped(Drop::kTooLarge) == 1);
  REQUIRE(net.seen.size() == 1);
  CHECK(net.seen[0].message[1] == 13);

  // Flows that wait for their verdict can't be displaced,
  for (uint16_t identifier = 1; identifier <= 5; ++identifier) {
    Ping(net, Ip::kV4, "x", 1, identifier);
  }
  net.Settle();
  CHECK(net.decider.asked.size() == 4);
  CHECK(net.stack->stats().dropped(Drop::kFlowLimit) == 1);
  // but what is remembered of refusals can.
  for (const FlowInfo& flow : net.decider.asked) net.decider.Answer(flow.id, DenyFlow{});
  net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
  for (uint16_t identifier = 10; identifier < 20; ++identifier) {
    Ping(net, Ip::kV4, "x", 1, identifier);
    net.Settle();
  }
  CHECK(net.decider.asked.size() == 14);
  CHECK(net.stack->stats().echo_flows <= 4);

  for (int count = 0; count < 1000; ++count) Ping(net, Ip::kV4, "x", 1, 19);
  const uint64_t before = net.stack->stats().dropped(Drop::kRateLimited);
  REQUIRE(net.RunUntil([&] { return net.stack->stats().frames_in >= 1000; }));
  CHECK(net.stack->stats().dropped(Drop::kRateLimited) - before > 400);
}

struct OneByte final : FlowMeter {
  bool Count(uint64_t up, uint64_t down) override { return up + down <= 1; }
};

TEST_CASE("a flow whose budget is spent ends") {
  Fixture net;
  Host host(net, std::make_unique<OneByte>());
  Ping(net, Ip::kV4, "x");
  host.Receive();
  host.Reply(1, "too much");
  REQUIRE(net.RunUntil([&] { return net.decider.ended.size() == 1; }));
  CHECK(net.seen.empty());
  CHECK(net.stack->stats().echo_flows == 0);
}

TEST_CASE("a run of pings is cut by its id, and given up with its stack") {
  Fixture net;
  Host host(net);
  Ping(net, Ip::kV4, "x");
  host.Receive();
  CHECK(net.stack->CutFlow(net.decider.asked[0].id));
  net.Settle();
  CHECK(net.decider.ended.size() == 1);
  CHECK_FALSE(net.stack->CutFlow(net.decider.asked[0].id));
  net.decider.answer = nullptr;
  Ping(net, Ip::kV4, "x");
  net.Settle();
  REQUIRE(net.decider.asked.size() == 2);
  net.stack.reset();
  CHECK(net.decider.cancelled == 1);
}

TEST_CASE("a grant whose socket is none is refused, and told as ended") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) { return SpliceFlow{UniqueFd(), nullptr}; };
  Ping(net, Ip::kV4, "x");
  net.Settle();
  REQUIRE(net.seen.size() == 1);
  CHECK(net.seen[0].message[0] == 3);
  CHECK(net.decider.ended.size() == 1);
}

TEST_CASE("a verdict that is not for pings denies") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) {
    return AcceptFlow{[](std::unique_ptr<Stream>) { FAIL("a stream over ICMP"); }};
  };
  Ping(net, Ip::kV4, "x");
  net.Settle();
  REQUIRE(net.seen.size() == 1);
  CHECK(net.seen[0].message[1] == 13);
}

TEST_CASE("echo requests that are none are dropped") {
  Fixture net;
  Bytes coded = EchoRequest(Far(Ip::kV4), "x");
  coded[1] = 1;
  Store16(&coded[2], Load16(&coded[2]) - 1);
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolIcmp, coded));
  Bytes cut = EchoRequest(Far(Ip::kV4), "");
  cut.pop_back();
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolIcmp, cut));
  Bytes wrong = EchoRequest(Far(Ip::kV4), "x");
  wrong[8] ^= 1;
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolIcmp, wrong));
  net.Settle();
  CHECK(net.decider.asked.empty());
  CHECK(net.seen.empty());
  CHECK(net.stack->stats().dropped(Drop::kMalformed) == 2);
  CHECK(net.stack->stats().dropped(Drop::kChecksum) == 1);
}

}  // namespace
}  // namespace sallyport::netstack
