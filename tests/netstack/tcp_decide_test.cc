#include <catch2/catch.hpp>

#include "fixture.h"
#include "netstack/byte_order.h"

namespace sallyport::netstack {
namespace {

TEST_CASE("a SYN is held until there is a verdict, and a denial is a reset") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    auto guest = net.NewGuest(ip, 40000, 443);
    guest->Syn();
    net.Settle();
    REQUIRE(net.decider.asked.size() == 1);
    const FlowInfo flow = net.decider.asked[0];
    CHECK(flow.transport == Transport::kTcp);
    CHECK(flow.destination == Endpoint{Far(ip), 443});
    CHECK(flow.source.port == 40000);
    CHECK_FALSE(guest->open);
    CHECK_FALSE(guest->reset);

    net.decider.Answer(flow.id, DenyFlow{});
    net.Settle();
    CHECK(guest->reset);
    CHECK(guest->acknowledged == 1);  // Of the SYN: a reset that the guest's kernel accepts.
    CHECK(net.stack->stats().tcp_refused == 1);
    CHECK(net.stack->stats().tcp_flows == 0);
    CHECK(net.decider.ended.empty());
  }
}

TEST_CASE("a destination that can't be reached is told by ICMP, quoting the SYN") {
  for (const auto as : {DenyFlow::As::kUnreachable, DenyFlow::As::kTimedOut}) {
    for (const Ip ip : {Ip::kV4, Ip::kV6}) {
      Fixture net;
      net.decider.answer = [as](const FlowInfo&) { return DenyFlow{as}; };
      auto guest = net.NewGuest(ip, 40000, 443, 7777);
      guest->Syn();
      net.Settle();
      REQUIRE(net.seen.size() == 1);
      const Bytes& message = net.seen[0].message;
      CHECK(message[0] == (ip == Ip::kV4 ? 3 : 1));  // Destination unreachable,
      CHECK(message[1] == (ip == Ip::kV4 ? 1 : 3));  // host or address.
      const size_t tcp = 8 + (ip == Ip::kV4 ? 20 : 40);
      REQUIRE(message.size() >= tcp + 8);
      CHECK(Load16(&message[tcp]) == 40000);
      CHECK(Load32(&message[tcp + 4]) == 7777);
    }
  }
}

TEST_CASE("a refused destination is a reset") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) { return DenyFlow{DenyFlow::As::kRefused}; };
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  net.Settle();
  CHECK(guest->reset);
}

TEST_CASE("repeated SYNs while the verdict is awaited are not asked about again") {
  Fixture net;
  auto guest = net.NewGuest(Ip::kV4);
  for (int times = 0; times < 3; ++times) guest->Syn();
  net.Settle();
  CHECK(net.decider.asked.size() == 1);
  CHECK_FALSE(guest->open);
}

TEST_CASE("a reset from the guest while the verdict is awaited cancels the decision") {
  Fixture net;
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  net.Settle();
  guest->Rst();
  net.Settle();
  CHECK(net.decider.cancelled == 1);
  CHECK(net.stack->stats().tcp_flows == 0);
  CHECK(net.decider.ended.empty());

  // The same addresses may be used again, under another id.
  guest->Syn();
  net.Settle();
  REQUIRE(net.decider.asked.size() == 2);
  CHECK(net.decider.asked[0].id != net.decider.asked[1].id);
}

TEST_CASE("a reset in the turn of its SYN calls off a verdict that is on its way") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) {
    return AcceptFlow{[](std::unique_ptr<Stream>) { FAIL("a stream of a flow that is over"); }};
  };
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  guest->Rst();
  net.Settle();
  CHECK(net.decider.asked.size() == 1);
  CHECK(net.decider.cancelled == 1);
  CHECK(net.decider.ended.empty());
}

TEST_CASE("a connection that is granted a socket that is none is refused, and told as ended") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) { return SpliceFlow{UniqueFd(), nullptr}; };
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  net.Settle();
  CHECK_FALSE(net.seen.empty());
  CHECK(net.decider.ended.size() == 1);
  CHECK(net.stack->stats().tcp_flows == 0);
}

TEST_CASE("a reset and a new SYN in one turn are two flows") {
  Fixture net;
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  guest->Rst();
  guest->Syn();
  net.Settle();
  CHECK(net.decider.asked.size() == 2);
  CHECK(net.decider.cancelled == 1);
  CHECK(net.stack->stats().tcp_flows == 1);
}

TEST_CASE("a verdict that is not for connections denies") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) { return ServeFlow{}; };
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  net.Settle();
  CHECK(guest->reset);
}

TEST_CASE("a segment of no connection is answered by a reset, a reset by nothing") {
  Fixture net;
  const auto send = [&](uint8_t flags, std::string_view data) {
    net.link->Push(IpFrame(Far(Ip::kV4), 6,
                           TcpMessage(Far(Ip::kV4), {.source_port = 1,
                                                     .destination_port = 2,
                                                     .sequence = 100,
                                                     .acknowledgement = 900,
                                                     .flags = flags,
                                                     .data = data})));
    net.Settle();
  };
  send(kRst, "");
  CHECK(net.seen.empty());
  send(kAck, "abc");
  REQUIRE(net.seen.size() == 1);
  CHECK((net.seen[0].flags & kRst) != 0);
  CHECK(net.seen[0].sequence == 900);
  CHECK(net.seen[0].acknowledgement == 103);
  CHECK(net.decider.asked.empty());
}

TEST_CASE("a cut flow that is still undecided is refused") {
  Fixture net;
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  net.Settle();
  CHECK(net.stack->CutFlow(net.decider.asked[0].id));
  net.Settle();
  CHECK(guest->reset);
  CHECK(net.decider.cancelled == 1);
  CHECK_FALSE(net.stack->CutFlow(net.decider.asked[0].id));
}

}  // namespace
}  // namespace sallyport::netstack
