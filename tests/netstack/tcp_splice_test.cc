#include <sys/socket.h>

#include <catch2/catch.hpp>

#include <string>

#include "fixture.h"
#include "tests/fakes/manual_clock.h"

namespace sallyport::netstack {
namespace {

// A fixture whose connections go to one end of a TCP connection over loopback.
struct Splicing {
  explicit Splicing(const StackOptions& options = TestOptions(), const TimeSource* time = nullptr)
      : net(options, time) {
    SocketPair pair = TcpPair();
    // So that a host that doesn't read stops the stack soon.
    const int size = 128 * 1024;
    setsockopt(pair.ours.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(pair.theirs.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    host = std::move(pair.theirs);
    auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
    net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
  }
  // Reads what the host is sent until there are SIZE bytes.
  bool HostGets(size_t size) {
    return net.RunUntil([&] {
      if (auto some = ReadSome(host.get())) {
        host_ended = some->empty();
        host_received += *some;
      }
      return host_received.size() >= size;
    });
  }
  bool HostEnds() {
    return net.RunUntil([&] {
      auto some = ReadSome(host.get());
      if (some) host_received += *some;
      return some && some->empty();
    });
  }
  void HostSends(std::string_view bytes) {
    REQUIRE(net.RunUntil([&] {
      const ssize_t sent = send(host.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
      return bytes.empty();
    }));
  }
  bool FlowEnds() {
    return net.RunUntil([&] { return net.decider.ended.size() == 1; });
  }

  Fixture net;
  UniqueFd host;
  std::string host_received;
  bool host_ended = false;
};

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; ++at) bytes[at] = static_cast<char>(at * 37 ^ at >> 9);
  return bytes;
}

TEST_CASE("a spliced connection carries bytes both ways, over IPv4 and IPv6") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Splicing test;
    auto guest = test.net.Connect(ip);
    const std::string up = Pattern(150'000);
    for (size_t at = 0; at < up.size(); at += 30'000) {
      guest->Send(std::string_view(up).substr(at, 30'000));
      REQUIRE(test.HostGets(at + 30'000));
    }
    CHECK(test.host_received == up);
    const std::string down = Pattern(3'000'000);
    test.HostSends(down);
    REQUIRE(test.net.RunUntil([&] { return guest->received.size() == down.size(); }));
    CHECK(guest->received == down);
    guest->Fin();
    REQUIRE(test.HostEnds());
    test.host.reset();
    REQUIRE(test.FlowEnds());
    CHECK(guest->finished);
    CHECK_FALSE(guest->reset);
    CHECK(test.net.decider.ended[0].second.bytes_up == up.size());
    CHECK(test.net.decider.ended[0].second.bytes_down == down.size());
    CHECK(test.net.stack->stats().buffered_bytes == 0);
  }
}

TEST_CASE("what the host sends before the handshake is over is delivered after it") {
  Splicing test;
  test.HostSends("banner");
  auto guest = test.net.NewGuest(Ip::kV4);
  guest->auto_ack = false;
  guest->Syn();
  REQUIRE(test.net.RunUntil([&] { return guest->open; }));
  test.net.Settle();
  CHECK(guest->received.empty());
  guest->auto_ack = true;
  guest->Ack();
  REQUIRE(test.net.RunUntil([&] { return guest->received == "banner"; }));
}

TEST_CASE("the guest may finish first: the host still answers") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  guest->Send("question");
  guest->Fin();
  REQUIRE(test.HostEnds());
  CHECK(test.host_received == "question");
  test.HostSends("answer");
  REQUIRE(test.net.RunUntil([&] { return guest->received == "answer"; }));
  CHECK_FALSE(guest->finished);
  test.host.reset();
  REQUIRE(test.FlowEnds());
  CHECK(guest->finished);
}

TEST_CASE("the guest's end is acknowledged with the host's own, where that follows at once") {
  ManualClock clock;
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Splicing test(TestOptions(), &clock);
    auto guest = test.net.Connect(ip);
    test.net.Settle();
    const uint64_t before = test.net.stack->stats().frames_out;
    guest->Fin();
    REQUIRE(test.HostEnds());
    test.host.reset();
    REQUIRE(test.FlowEnds());
    CHECK(guest->finished);
    CHECK(guest->acknowledged == 2);
    CHECK(test.net.stack->stats().frames_out == before + 1);
  }
}

TEST_CASE("the guest's end alone is acknowledged soon, and at once when it comes again") {
  ManualClock clock;
  Splicing test(TestOptions(), &clock);
  auto guest = test.net.Connect(Ip::kV4);
  test.net.Settle();
  guest->Fin();
  REQUIRE(test.HostEnds());
  test.net.Settle();
  CHECK(guest->acknowledged == 1);
  test.net.Pass(clock, std::chrono::milliseconds(100));
  CHECK(guest->acknowledged == 2);
  guest->acknowledged = 0;
  guest->FinAt(0);
  test.net.Settle();
  CHECK(guest->acknowledged == 2);
}

TEST_CASE("the guest's end behind the host's is acknowledged at once") {
  ManualClock clock;
  Splicing test(TestOptions(), &clock);
  auto guest = test.net.Connect(Ip::kV4);
  shutdown(test.host.get(), SHUT_WR);
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  guest->Fin();
  test.net.Settle();
  CHECK(guest->acknowledged == 2);
}

TEST_CASE("the host may finish first: the guest still sends") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  test.HostSends("hello");
  shutdown(test.host.get(), SHUT_WR);
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  CHECK(guest->received == "hello");
  guest->Send("thanks");
  guest->Fin();
  REQUIRE(test.HostEnds());
  CHECK(test.host_received == "thanks");
  REQUIRE(test.FlowEnds());
  CHECK_FALSE(guest->reset);
}

TEST_CASE("bytes and an end in one event both arrive") {
  // More than one read's worth, so that a short read comes with the end behind it.
  for (const size_t size : {size_t{1}, size_t{5000}, size_t{8192}, size_t{100'000}}) {
    Splicing test;
    auto guest = test.net.Connect(Ip::kV4);
    const std::string bytes = Pattern(size);
    REQUIRE(send(test.host.get(), bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
    test.host.reset();
    REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
    CHECK(guest->received == bytes);
  }
}

TEST_CASE("a reset passes from the guest to the host") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  guest->Rst();
  REQUIRE(test.FlowEnds());
  char byte;
  CHECK(recv(test.host.get(), &byte, 1, 0) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("a reset passes from the host to the guest, behind what was sent before it") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  test.HostSends("last words");
  test.net.Settle();
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(test.host.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  test.host.reset();
  REQUIRE(test.FlowEnds());
  test.net.Settle();
  CHECK(guest->received == "last words");
  CHECK(guest->reset);
  CHECK_FALSE(guest->finished);
}

TEST_CASE("a host that never reads closes the guest's window") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  // What it sends beyond the window is lost, so it must stop when told.
  size_t sent = 0;
  while (guest->peer_window > 20'000 || sent == 0) {
    REQUIRE(sent < 64'000'000);
    guest->Send(Pattern(20'000));
    sent += 20'000;
    test.net.Settle();
  }
  CHECK(test.net.stack->stats().buffered_bytes < 3 * 1024 * 1024);
  REQUIRE(test.HostGets(guest->acknowledged - 1));
  REQUIRE(test.net.RunUntil([&] { return guest->peer_window > 500'000; }));
}

TEST_CASE("what the guest sent before it left is delivered to a slow host") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  shutdown(test.host.get(), SHUT_WR);
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  size_t sent = 0;
  while (test.net.stack->stats().buffered_bytes < 100'000) {
    guest->Send(Pattern(20'000));
    sent += 20'000;
    test.net.Settle();
  }
  guest->Fin();
  test.net.Settle();
  REQUIRE(test.HostEnds());
  CHECK(test.host_received.size() == sent);
  REQUIRE(test.FlowEnds());
}

TEST_CASE("a host that takes nothing from a guest that left is given up in the end") {
  StackOptions options = TestOptions();
  options.linger_timeout = std::chrono::milliseconds(10);
  Splicing test(options);
  auto guest = test.net.Connect(Ip::kV4);
  shutdown(test.host.get(), SHUT_WR);
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  while (test.net.stack->stats().buffered_bytes < 100'000) {
    guest->Send(Pattern(20'000));
    test.net.Settle();
  }
  guest->Fin();
  REQUIRE(test.FlowEnds());
  CHECK(test.net.stack->stats().buffered_bytes == 0);
}

TEST_CASE("cutting a spliced flow resets both sides") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  CHECK(test.net.stack->CutFlow(test.net.decider.asked[0].id));
  REQUIRE(test.FlowEnds());
  test.net.Settle();
  CHECK(guest->reset);
  char byte;
  CHECK(recv(test.host.get(), &byte, 1, 0) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("a reset during the handshake resets the host") {
  Splicing test;
  auto guest = test.net.NewGuest(Ip::kV4);
  guest->auto_ack = false;
  guest->Syn();
  REQUIRE(test.net.RunUntil([&] { return guest->open; }));
  guest->Rst();
  REQUIRE(test.FlowEnds());
  char byte;
  CHECK(recv(test.host.get(), &byte, 1, 0) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("both sides finishing at once end the flow") {
  Splicing test;
  auto guest = test.net.Connect(Ip::kV4);
  guest->auto_ack = false;
  test.host.reset();
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  guest->Fin();  // Does acknowledge, as every segment does.
  REQUIRE(test.FlowEnds());
  CHECK_FALSE(guest->reset);
}

}  // namespace
}  // namespace sallyport::netstack
