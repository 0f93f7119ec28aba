// Datagrams that come in one turn leave together: each must arrive as it was sent.

#include <sched.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"
#include "netstack/datagram_socket.h"

namespace sallyport::netstack {
namespace {

/// Stays on one CPU: loopback keeps no order between what two of them send.
class OneCpu {
 public:
  OneCpu() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  ~OneCpu() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

using Datagrams = std::vector<std::string>;

/// Datagram number N of SIZE bytes, unlike any other.
std::string Numbered(size_t n, size_t size) {
  std::string data(size, static_cast<char>('a' + n % 26));
  for (size_t at = 0; at < std::min<size_t>(size, 4); ++at)
    data[at] = static_cast<char>(n >> 8 * at);
  return data;
}

void SendUdp(Fixture& net, Ip ip, std::string_view data, uint16_t source_port = 5000) {
  net.link->Push(IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), source_port, 53, data)));
}

/// A stack whose flows are relayed, each to a host of its own: in the order in which they began.
struct Relay {
  Relay() {
    net.decider.answer = [this](const FlowInfo&) {
      auto pair = UdpPair();
      hosts.push_back(std::move(pair.theirs));
      got.emplace_back();
      if (prepare) prepare(pair.ours.get());
      return SpliceFlow{std::move(pair.ours), std::move(meter)};
    };
  }
  /// Begins the flow of SOURCE_PORT, so that nothing waits for its verdict any more.
  void Begin(Ip ip, uint16_t source_port = 5000) {
    SendUdp(net, ip, "first", source_port);
    const size_t flow = hosts.size();
    REQUIRE(net.RunUntil([&] {
      ReadAll();
      return got.size() > flow && !got[flow].empty();
    }));
    got[flow].clear();
  }
  void ReadAll() {
    for (size_t flow = 0; flow < hosts.size(); ++flow) {
      while (auto some = ReadSome(hosts[flow].get())) got[flow].push_back(*some);
    }
  }
  /// What the next COUNT frames to the guest carry.
  Datagrams Answered(size_t count) {
    CHECK(net.RunUntil([&] { return net.seen.size() >= count; }));
    Datagrams datagrams;
    for (const auto& seen : std::exchange(net.seen, {})) datagrams.push_back(seen.data);
    return datagrams;
  }
  bool Arrive(size_t flow, size_t count) {
    return net.RunUntil([&] {
      ReadAll();
      return got[flow].size() >= count;
    });
  }

  OneCpu one_cpu;
  std::function<void(int)> prepare;
  std::unique_ptr<FlowMeter> meter;
  std::vector<UniqueFd> hosts;
  std::vector<Datagrams> got;
  Fixture net;
};

TEST_CASE("datagrams of one turn keep their borders and their order, whatever their sizes") {
  const std::vector<std::vector<size_t>> bursts = {
      {64, 64, 64, 64},
      {64, 64, 10},
      {10, 64, 64, 1, 1, 2},
      {0, 0, 5, 0, 5, 5, 0},
      {1200, 1200, 1199, 1200},
      {9000, 1, 9000, 9000, 1, 1},
      {8192, 8192, 8192, 3},
      std::vector<size_t>(60, 1),
      {1400},
  };
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Relay relay;
    relay.Begin(ip);
    for (const std::vector<size_t>& sizes : bursts) {
      Datagrams sent;
      for (const size_t size : sizes) sent.push_back(Numbered(sent.size(), size));
      for (const std::string& data : sent) SendUdp(relay.net, ip, data);
      CHECK(relay.Arrive(0, sent.size()));
      CHECK(relay.got[0] == sent);
      relay.got[0].clear();
    }
  }
}

TEST_CASE("more datagrams than leave together leave one after the other") {
  for (const size_t size : {size_t{20}, size_t{1400}, size_t{8000}}) {
    Relay relay;
    relay.Begin(Ip::kV4);
    const size_t count = size > 2000 ? 20 : 140;
    for (size_t n = 0; n < count;) {
      // In pieces that the host's buffer has room for.
      Datagrams sent;
      for (size_t piece = 0; piece < 70 && n < count; ++piece) sent.push_back(Numbered(n++, size));
      for (const std::string& data : sent) SendUdp(relay.net, Ip::kV4, data);
      CHECK(relay.Arrive(0, sent.size()));
      CHECK(relay.got[0] == sent);
      relay.got[0].clear();
    }
  }
}

TEST_CASE("flows whose datagrams come by turns each get their own, in order") {
  Relay relay;
  constexpr uint16_t kFlows = 5;
  for (uint16_t flow = 0; flow < kFlows; ++flow) relay.Begin(Ip::kV4, 5000 + flow);
  std::vector<Datagrams> sent(kFlows);
  for (size_t n = 0; n < 100; ++n) {
    const size_t flow = n * n % kFlows;
    sent[flow].push_back(Numbered(n, 100 + flow));
    SendUdp(relay.net, Ip::kV4, sent[flow].back(), static_cast<uint16_t>(5000 + flow));
  }
  for (size_t flow = 0; flow < kFlows; ++flow) CHECK(relay.Arrive(flow, sent[flow].size()));
  CHECK(relay.got == sent);
}

TEST_CASE("datagrams that waited for the verdict arrive one by one") {
  Relay relay;
  Datagrams sent;
  for (size_t n = 0; n < 16; ++n) sent.push_back(Numbered(n, 64));
  for (const std::string& data : sent) SendUdp(relay.net, Ip::kV4, data);
  REQUIRE(relay.net.RunUntil([&] { return !relay.got.empty(); }));
  CHECK(relay.Arrive(0, sent.size()));
  CHECK(relay.got[0] == sent);
}

TEST_CASE("answers that come together arrive one by one, in order") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Relay relay;
    relay.Begin(ip);
    DatagramSocket host(UniqueFd(dup(relay.hosts[0].get())));
    for (const std::vector<size_t>& sizes : std::vector<std::vector<size_t>>{
             {64, 64, 64, 64}, {1000, 1000, 1}, {1400, 1400, 1400, 1399}, std::vector<size_t>(40, 3)}) {
      Datagrams sent;
      std::vector<iovec> parts;
      for (const size_t size : sizes) sent.push_back(Numbered(sent.size(), size));
      for (std::string& data : sent) parts.push_back({data.data(), data.size()});
      REQUIRE(host.Together(parts) == parts.size());
      REQUIRE(host.Send(parts));
      CHECK(relay.Answered(sent.size()) == sent);
    }
  }
}

TEST_CASE("answers of many sizes keep their borders") {
  Relay relay;
  relay.Begin(Ip::kV4);
  Datagrams sent;
  for (const size_t size : {0U, 1U, 0U, 1472U, 1472U, 7U, 0U}) {
    sent.push_back(Numbered(sent.size(), size));
    REQUIRE(send(relay.hosts[0].get(), sent.back().data(), size, 0) == static_cast<ssize_t>(size));
  }
  CHECK(relay.Answered(sent.size()) == sent);
}

TEST_CASE("a route that can't cut datagrams apart gets them one by one") {
  Relay relay;
  relay.prepare = [](int socket) {
    const int on = 1;  // Without checksums the kernel refuses to cut.
    REQUIRE(setsockopt(socket, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) == 0);
  };
  relay.Begin(Ip::kV4);
  for (int burst = 0; burst < 3; ++burst) {
    Datagrams sent;
    for (size_t n = 0; n < 10; ++n) sent.push_back(Numbered(n, n < 7 ? 64 : 30));
    for (const std::string& data : sent) SendUdp(relay.net, Ip::kV4, data);
    CHECK(relay.Arrive(0, sent.size()));
    CHECK(relay.got[0] == sent);
    relay.got[0].clear();
  }
  CHECK(relay.net.stack->stats().udp_flows == 1);
}

TEST_CASE("what can leave together is of one size, but for a smaller last one") {
  SocketPair pair = UdpPair();
  DatagramSocket socket(std::move(pair.ours));
  std::string bytes(65'536, 'x');
  const auto together = [&](const std::vector<size_t>& sizes) {
    std::vector<iovec> parts;
    for (const size_t size : sizes) parts.push_back({bytes.data(), size});
    return socket.Together(parts);
  };
  CHECK(together({5}) == 1);
  CHECK(together({5, 5, 5}) == 3);
  CHECK(together({5, 5, 6}) == 2);
  CHECK(together({5, 5, 4, 4}) == 3);
  CHECK(together({5, 5, 0, 5}) == 2);
  CHECK(together({0, 0}) == 1);
  CHECK(together({30'000, 30'000, 30'000}) == 2);
  CHECK(together({40'000, 10}) == 1);
  CHECK(together({65'507, 10}) == 1);
  CHECK(together(std::vector<size_t>(100, 5)) == 64);

  std::vector<iovec> five(4, iovec{bytes.data(), 5});
  CHECK_FALSE(socket.CutFailed(five, EAGAIN));
  CHECK(together({5, 5, 5}) == 3);
  CHECK(socket.CutFailed(five, EMSGSIZE));
  CHECK(together({5, 5, 5}) == 1);
  CHECK(together({4, 4, 4}) == 3);
  CHECK(socket.CutFailed(five, EIO));
  CHECK(together({4, 4, 4}) == 1);
}

TEST_CASE("a socket that is not UDP's gets datagrams one by one") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd theirs(ends[1]);
  auto ours = std::make_shared<UniqueFd>(ends[0]);
  Fixture net;
  net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
  for (int count = 0; count < 5; ++count) SendUdp(net, Ip::kV4, "abc");
  Datagrams got;
  REQUIRE(net.RunUntil([&] {
    while (auto some = ReadSome(theirs.get())) got.push_back(*some);
    return got.size() == 5;
  }));
  CHECK(got == Datagrams(5, "abc"));
}

TEST_CASE("a host that went away is told once for each error, and the rest is tried again") {
  Relay relay;
  relay.Begin(Ip::kV4);
  relay.hosts[0].reset();
  for (int burst = 0; burst < 2; ++burst) {
    relay.net.seen.clear();
    for (size_t n = 0; n < 8; ++n) SendUdp(relay.net, Ip::kV4, Numbered(n, 64));
    REQUIRE(relay.net.RunUntil([&] { return !relay.net.seen.empty(); }));
    CHECK(relay.net.seen[0].message[0] == 3);
    CHECK(relay.net.seen[0].message[1] == 3);  // Port unreachable.
  }
  CHECK(relay.net.stack->stats().udp_flows == 1);
}

// Lets so many bytes through.
struct Allowance final : FlowMeter {
  explicit Allowance(uint64_t bytes) : left(bytes) {}
  bool Count(uint64_t up, uint64_t down) override {
    if (up + down > left) return false;
    left -= up + down;
    return true;
  }
  uint64_t left;
};

TEST_CASE("what came before a flow's allowance was spent is sent, and nothing after it") {
  Relay relay;
  relay.meter = std::make_unique<Allowance>(5 + 3 * 64);
  relay.Begin(Ip::kV4);
  Datagrams sent;
  for (size_t n = 0; n < 6; ++n) sent.push_back(Numbered(n, 64));
  for (const std::string& data : sent) SendUdp(relay.net, Ip::kV4, data);
  // All six come in one turn, so what follows is a new flow's, that waits for nobody.
  relay.net.decider.answer = [](const FlowInfo&) { return DenyFlow{}; };
  REQUIRE(relay.net.RunUntil([&] { return !relay.net.decider.ended.empty(); }));
  CHECK(relay.Arrive(0, 3));
  relay.net.Settle();
  relay.ReadAll();
  CHECK(relay.got[0] == Datagrams(sent.begin(), sent.begin() + 3));
  CHECK(relay.net.decider.ended[0].second.bytes_up == 5 + 3 * 64);
}

TEST_CASE("of answers that come together only what the flow may carry goes on") {
  Relay relay;
  relay.meter = std::make_unique<Allowance>(5 + 3 * 64);  // "first" is a datagram, too.
  relay.Begin(Ip::kV4);
  DatagramSocket host(UniqueFd(dup(relay.hosts[0].get())));
  Datagrams sent;
  std::vector<iovec> parts;
  for (size_t n = 0; n < 6; ++n) sent.push_back(Numbered(n, 64));
  for (std::string& data : sent) parts.push_back({data.data(), data.size()});
  REQUIRE(host.Send(parts));
  CHECK(relay.net.RunUntil([&] { return !relay.net.decider.ended.empty(); }));
  CHECK(relay.Answered(3) == Datagrams(sent.begin(), sent.begin() + 3));
  CHECK(relay.net.decider.ended[0].second.bytes_down == 3 * 64);
}

TEST_CASE("a flow that is cut has sent what it is counted for") {
  Relay relay;
  relay.Begin(Ip::kV4);
  for (size_t n = 0; n < 4; ++n) SendUdp(relay.net, Ip::kV4, Numbered(n, 64));
  relay.net.Turn();
  CHECK(relay.net.stack->CutFlow(relay.net.decider.asked[0].id));
  relay.net.stack.reset();
  relay.ReadAll();
  CHECK(relay.net.decider.ended.size() == 1);
  CHECK(relay.net.decider.ended[0].second.bytes_up == 5 + relay.got[0].size() * 64);
}

}  // namespace
}  // namespace sallyport::netstack
