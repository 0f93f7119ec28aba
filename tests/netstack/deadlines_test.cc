#include <catch2/catch.hpp>

#include <string>

#include "fixture.h"
#include "netstack/packet.h"

// Every wait of the stack, with its real length, on a clock that the test moves.

namespace sallyport::netstack {
namespace {

using namespace std::chrono_literals;

/// A stack in which time goes by only when it is told to.
struct Timed {
  Timed() : net(TestOptions(), &clock) {}

  void Pass(Clock::duration time) { net.Pass(clock, time); }
  size_t flows() const { return net.stack->stats().tcp_flows; }
  /// Connections end in `stream`.
  void Accept() {
    net.decider.answer = [this](const FlowInfo&) {
      return AcceptFlow{[this](std::unique_ptr<Stream> made) { stream = std::move(made); }};
    };
  }
  /// A connection between `host` and the guest that it returns.
  std::unique_ptr<GuestTcp> Splice() {
    SocketPair pair = TcpPair();
    host = std::move(pair.theirs);
    auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
    net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
    return net.Connect(Ip::kV4);
  }

  ManualClock clock;
  Fixture net;
  std::unique_ptr<Stream> stream;
  UniqueFd host;
};

void SendUdp(Fixture& net, std::string_view data) {
  const IpAddress far = Far(Ip::kV4);
  net.link->Push(IpFrame(far, kProtocolUdp, UdpMessage(far, 5000, 53, data)));
}

struct Silent final : DatagramService {
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)>) override {
    payloads.emplace_back(payload);
  }
  std::vector<std::string> payloads;
};

TEST_CASE("a verdict that does not come within 130 seconds is a refusal") {
  Timed test;
  auto guest = test.net.NewGuest(Ip::kV4);
  guest->Syn();
  test.Pass(129s);
  CHECK(test.net.decider.waiting(1));
  CHECK(test.net.seen.empty());
  test.Pass(2s);
  CHECK(test.net.decider.cancelled == 1);
  CHECK(test.flows() == 0);
  CHECK_FALSE(test.net.seen.empty());
}

TEST_CASE("so is one on datagrams, and a verdict that would come later is called off") {
  for (const uint8_t protocol : {kProtocolUdp, kProtocolIcmp}) {
    CAPTURE(int{protocol});
    Timed test;
    const IpAddress far = Far(Ip::kV4);
    test.net.link->Push(IpFrame(
        far, protocol,
        protocol == kProtocolUdp ? UdpMessage(far, 5000, 53, "x") : EchoRequest(far, "x", 1, 1)));
    test.Pass(129s);
    CHECK(test.net.decider.waiting(1));
    test.Pass(2s);
    CHECK(test.net.decider.cancelled == 1);
    CHECK_FALSE(test.net.decider.waiting(1));
    CHECK_FALSE(test.net.seen.empty());
    CHECK(test.net.decider.ended.empty());
  }
}

TEST_CASE("a guest that never ends its handshake is forgotten within half a minute") {
  Timed test;
  test.Accept();
  auto guest = test.net.NewGuest(Ip::kV4);
  guest->Syn();
  test.net.Forget(*guest);  // It is gone before the answer comes.
  test.Pass(10s);
  CHECK(test.flows() == 1);
  CHECK(test.net.seen.size() > 1);  // The answer, again and again.
  test.Pass(20s);
  CHECK(test.flows() == 0);
  CHECK(test.net.decider.ended.size() == 1);
  CHECK(test.stream == nullptr);
}

TEST_CASE("a connection may be silent for an hour, and works after it") {
  Timed test;
  auto guest = test.Splice();
  test.Pass(1h);
  guest->Send("still here");
  std::string got;
  REQUIRE(test.net.RunUntil([&] {
    got += ReadSome(test.host.get()).value_or("");
    return got == "still here";
  }));
  CHECK(test.flows() == 1);
}

TEST_CASE("so may a connection that one side has finished") {
  Timed test;
  auto guest = test.Splice();
  REQUIRE(shutdown(test.host.get(), SHUT_WR) == 0);
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  test.Pass(1h);
  guest->Send("the rest");
  std::string got;
  REQUIRE(test.net.RunUntil([&] {
    got += ReadSome(test.host.get()).value_or("");
    return got == "the rest";
  }));
  guest->Fin();
  REQUIRE(test.net.RunUntil([&] { return test.flows() == 0; }));
}

TEST_CASE("a guest that does not finish a closed connection is reset after 30 seconds") {
  Timed test;
  test.Accept();
  auto guest = test.net.Connect(Ip::kV4);
  test.stream.reset();
  test.Pass(29s);
  CHECK(guest->finished);
  CHECK_FALSE(guest->reset);
  CHECK(test.flows() == 1);
  test.Pass(2s);
  CHECK(guest->reset);
  CHECK(test.flows() == 0);
}

TEST_CASE("a guest that is gone when the last end is to be acknowledged is not waited for") {
  Timed test;
  auto guest = test.Splice();
  guest->Fin();
  test.net.Settle();
  test.net.Forget(*guest);
  test.host.reset();
  test.Pass(1s);
  CHECK(test.flows() == 1);
  test.Pass(3min);
  CHECK(test.flows() == 0);
  CHECK(test.net.decider.ended.size() == 1);
}

TEST_CASE("a guest that acknowledges nothing any more is given up") {
  Timed test;
  test.Accept();
  auto guest = test.net.Connect(Ip::kV4);
  test.net.Forget(*guest);
  CHECK(test.stream->Write("hello?") == 6);
  test.Pass(5s);
  CHECK(test.flows() == 1);
  CHECK(test.net.seen.size() > 2);  // Sent again, at growing distances.
  test.Pass(15min);
  CHECK(test.flows() == 0);
  CHECK(test.net.stack->stats().buffered_bytes == 0);
  std::array<uint8_t, 8> buffer;
  CHECK(test.stream->Read(buffer).kind == ReadResult::Kind::kBroken);
}

TEST_CASE("a spliced datagram flow ends 60 seconds after its last datagram") {
  Timed test;
  SocketPair pair = UdpPair();
  auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
  test.net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
  SendUdp(test.net, "one");
  test.Pass(59s);
  SendUdp(test.net, "two");
  test.Pass(59s);
  CHECK(test.net.stack->stats().udp_flows == 1);
  test.Pass(2s);
  CHECK(test.net.stack->stats().udp_flows == 0);
  REQUIRE(test.net.decider.ended.size() == 1);
  CHECK(test.net.decider.ended[0].second.bytes_up == 6);
}

TEST_CASE("a datagram flow that is answered here ends 15 seconds after its last datagram") {
  Timed test;
  Silent service;
  test.net.decider.answer = [&](const FlowInfo&) { return ServeFlow{&service}; };
  SendUdp(test.net, "one");
  test.Pass(14s);
  SendUdp(test.net, "two");
  test.Pass(14s);
  CHECK(test.net.stack->stats().udp_flows == 1);
  test.Pass(2s);
  CHECK(test.net.stack->stats().udp_flows == 0);
  CHECK(service.payloads == std::vector<std::string>{"one", "two"});
  test.net.stack.reset();
}

TEST_CASE("a refused datagram flow is refused for 5 seconds, then asked about again") {
  Timed test;
  test.net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
  SendUdp(test.net, "one");
  test.Pass(4s);
  SendUdp(test.net, "two");
  test.net.Settle();
  CHECK(test.net.decider.asked.size() == 1);
  test.Pass(6s);
  SendUdp(test.net, "three");
  test.net.Settle();
  CHECK(test.net.decider.asked.size() == 2);
}

TEST_CASE("half of a datagram waits for the other for some seconds, and no longer") {
  for (const auto& [wait, joined] : {std::pair(29s, true), std::pair(31s, false)}) {
    CAPTURE(joined);
    Timed test;
    Silent service;
    test.net.decider.answer = [&](const FlowInfo&) { return ServeFlow{&service}; };
    const std::string data(2000, 'x');
    const auto frames =
        Fragments(Far(Ip::kV4), kProtocolUdp, UdpMessage(Far(Ip::kV4), 5000, 53, data));
    REQUIRE(frames.size() == 2);
    test.net.link->Push(frames[0]);
    test.Pass(wait);
    test.net.link->Push(frames[1]);
    test.net.Settle();
    CHECK(service.payloads ==
          (joined ? std::vector<std::string>{data} : std::vector<std::string>()));
    CHECK(test.net.stack->stats().dropped(Drop::kFragment) == (joined ? 0 : 1));
    test.net.stack.reset();
  }
}

}  // namespace
}  // namespace sallyport::netstack
