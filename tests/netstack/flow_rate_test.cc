// How many flows a guest may begin in a second, and which it has.

#include <catch2/catch.hpp>
#include <map>

#include "fixture.h"
#include "netstack/rate_limit.h"

namespace sallyport::netstack {
namespace {

using namespace std::chrono_literals;

StackOptions Slow() {
  StackOptions options = TestOptions();
  options.new_flows_per_second = 10;
  options.new_flow_burst = 3;
  return options;
}

TEST_CASE("SYNs beyond the rate are refused and told once each, and work again after a while") {
  ManualClock clock;
  Fixture net(Slow(), &clock);
  net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
  std::vector<std::unique_ptr<GuestTcp>> guests;
  const auto send_syns = [&](uint16_t first, uint16_t last) {
    for (uint16_t port = first; port <= last; ++port) {
      guests.push_back(net.NewGuest(Ip::kV4, port));
      guests.back()->Syn();
    }
    net.Settle();
  };
  send_syns(1, 200);
  CHECK(net.decider.asked.size() == 3);
  CHECK(net.stack->stats().dropped(Drop::kFlowRate) == 197);
  CHECK(net.decider.refused.size() == 197);
  CHECK(net.decider.refused.front().second == Drop::kFlowRate);
  CHECK(net.decider.refused.front().first.source.port == 4);
  CHECK(net.stack->stats().tcp_flows == 0);
  for (const auto& guest : guests) CHECK(guest->reset);

  clock.Advance(200ms);
  send_syns(201, 210);
  CHECK(net.decider.asked.size() == 5);
  clock.Advance(1h);
  send_syns(211, 220);
  CHECK(net.decider.asked.size() == 8);
}

TEST_CASE("runs of pings count as flows that begin, and are seen") {
  ManualClock clock;
  Fixture net(Slow(), &clock);
  for (uint16_t identifier = 1; identifier <= 5; ++identifier) {
    net.link->Push(
        IpFrame(Far(Ip::kV4), kProtocolIcmp, EchoRequest(Far(Ip::kV4), "x", 1, identifier)));
  }
  net.Settle();
  CHECK(net.decider.asked.size() == 3);
  REQUIRE(net.decider.refused.size() == 2);
  CHECK(net.decider.refused.front().second == Drop::kFlowRate);
  CHECK(net.decider.refused.front().first.transport == Transport::kIcmp);
  CHECK(net.seen.size() == 2);
  int deciding = 0;
  net.stack->ForEachFlow([&](const FlowView& view) {
    CHECK(view.info.transport == Transport::kIcmp);
    if (view.state == FlowView::State::kDeciding) ++deciding;
  });
  CHECK(deciding == 3);
}

TEST_CASE("a connection that is open takes nothing off the rate") {
  ManualClock clock;
  Fixture net(Slow(), &clock);
  std::vector<std::unique_ptr<Echo>> echoes;
  net.decider.answer = [&](const FlowInfo&) {
    return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
      echoes.push_back(std::make_unique<Echo>(std::move(stream)));
    }};
  };
  auto guest = net.Connect(Ip::kV4, 1);
  for (int i = 0; i < 20; ++i) {
    guest->Send("x");
    net.Settle();
  }
  CHECK(guest->received == std::string(20, 'x'));
  CHECK(net.stack->stats().dropped(Drop::kFlowRate) == 0);
}

TEST_CASE("every flow is seen with what it carried and how far it is") {
  Fixture net;
  std::vector<std::unique_ptr<Echo>> echoes;
  net.decider.answer = [&](const FlowInfo& flow) -> std::optional<FlowVerdict> {
    if (flow.destination.port == 81) return std::nullopt;
    return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
      echoes.push_back(std::make_unique<Echo>(std::move(stream)));
    }};
  };
  auto open = net.Connect(Ip::kV4, 1);
  open->Send("12345");
  net.Settle();
  auto deciding = net.NewGuest(Ip::kV6, 2, 81);
  deciding->Syn();
  net.Settle();
  std::map<uint16_t, FlowView> views;
  net.stack->ForEachFlow([&](const FlowView& view) { views[view.info.source.port] = view; });
  REQUIRE(views.size() == 2);
  CHECK(views[1].state == FlowView::State::kOpen);
  CHECK(views[1].stats.bytes_up == 5);
  CHECK(views[1].stats.bytes_down == 5);
  CHECK(views[2].state == FlowView::State::kDeciding);
  CHECK(views[2].info.destination.address.is_v6());
  CHECK(net.stack->stats().bytes_from_guest == 5);
  CHECK(net.stack->stats().bytes_to_guest == 5);
}

TEST_CASE("each drop has a word of its own") {
  std::map<std::string_view, int> words;
  for (size_t i = 0; i < kDropReasons; ++i) ++words[ToString(static_cast<Drop>(i))];
  CHECK(words.size() == kDropReasons);
  CHECK_FALSE(words.contains("unknown"));
}

}  // namespace
}  // namespace sallyport::netstack
