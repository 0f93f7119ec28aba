#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <numeric>

#include "fixture.h"

namespace sallyport::netstack {
namespace {

// Bytes that tell where they come from.
std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; ++at) bytes[at] = static_cast<char>(at * 31 ^ at >> 8);
  return bytes;
}

// A fixture whose connections end in streams that the test holds.
struct Accepting {
  explicit Accepting(const StackOptions& options = TestOptions()) : net(options) {
    net.decider.answer = [this](const FlowInfo&) {
      return AcceptFlow{[this](std::unique_ptr<Stream> made) { stream = std::move(made); }};
    };
  }
  std::unique_ptr<GuestTcp> Connect(Ip ip = Ip::kV4, uint32_t sequence = 1000) {
    auto guest = net.Connect(ip, 40000, 80, sequence);
    REQUIRE(stream != nullptr);
    return guest;
  }
  std::string ReadAll() {
    std::array<uint8_t, 1000> buffer;
    std::string all;
    for (;;) {
      const ReadResult result = stream->Read(buffer);
      last = result.kind;
      if (result.kind != ReadResult::Kind::kBytes) return all;
      all.append(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
    }
  }
  // Writes as there is room, while the guest takes it.
  void WriteAll(std::string_view bytes) {
    REQUIRE(net.RunUntil([&] {
      bytes.remove_prefix(stream->Write(bytes));
      return bytes.empty();
    }));
  }

  Fixture net;
  std::unique_ptr<Stream> stream;
  ReadResult::Kind last = ReadResult::Kind::kWouldBlock;
};

TEST_CASE("among a thousand connections each gets its own bytes, many in one turn") {
  constexpr uint16_t kConnections = 1000;
  Fixture net;
  std::vector<std::unique_ptr<Echo>> echoes;
  net.decider.answer = [&](const FlowInfo&) {
    return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
      echoes.push_back(std::make_unique<Echo>(std::move(stream)));
    }};
  };
  std::vector<std::unique_ptr<GuestTcp>> guests;
  for (uint16_t i = 0; i < kConnections; ++i) {
    const Ip ip = i % 2 == 0 ? Ip::kV4 : Ip::kV6;
    guests.push_back(net.NewGuest(ip, static_cast<uint16_t>(20'000 + i)));
    guests.back()->Syn();
  }
  REQUIRE(net.RunUntil([&] { return echoes.size() == kConnections; }));
  for (size_t i = 0; i < guests.size(); ++i) guests[i]->Send("from " + std::to_string(i));
  REQUIRE(net.RunUntil([&] {
    return std::ranges::none_of(guests, [](const auto& guest) { return guest->received.empty(); });
  }));
  for (size_t i = 0; i < guests.size(); ++i) {
    CHECK(guests[i]->received == "from " + std::to_string(i));
  }
}

TEST_CASE("an accepted connection echoes, over IPv4 and IPv6") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    std::unique_ptr<Echo> echo;
    net.decider.answer = [&](const FlowInfo&) {
      return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
        echo = std::make_unique<Echo>(std::move(stream));
      }};
    };
    auto guest = net.Connect(ip);
    const std::string sent = Pattern(100'000);
    for (size_t at = 0; at < sent.size(); at += 10'000) {
      guest->Send(std::string_view(sent).substr(at, 10'000));
      REQUIRE(net.RunUntil([&] { return guest->received.size() == at + 10'000; }));
    }
    CHECK(guest->received == sent);
    guest->Fin();
    REQUIRE(net.RunUntil([&] { return guest->finished; }));
    CHECK(echo->ended);
    echo.reset();
    REQUIRE(net.RunUntil([&] { return net.decider.ended.size() == 1; }));
    CHECK(net.decider.ended[0].second.bytes_up == sent.size());
    CHECK(net.decider.ended[0].second.bytes_down == sent.size());
    CHECK(net.stack->stats().tcp_flows == 0);
    CHECK(net.stack->stats().buffered_bytes == 0);
  }
}

TEST_CASE("sequence numbers may wrap in both directions") {
  StackOptions options = TestOptions();
  options.initial_sequence = 0xffff'f000u;
  Accepting test(options);
  auto guest = test.Connect(Ip::kV4, 0xffff'ff00u);
  const std::string bytes = Pattern(20'000);
  guest->Send(bytes);
  test.net.Settle();
  CHECK(test.ReadAll() == bytes);
  test.WriteAll(bytes);
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == bytes.size(); }));
  CHECK(guest->received == bytes);
  CHECK(guest->acknowledged == bytes.size() + 1);
}

TEST_CASE("bytes cut at any two places arrive the same") {
  Accepting test;
  auto guest = test.Connect();
  const std::string bytes = Pattern(24);
  std::string expected;
  for (size_t first = 0; first <= bytes.size(); first += 3) {
    for (size_t second = first; second <= bytes.size(); second += 3) {
      for (const std::string& piece :
           {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
        if (!piece.empty()) guest->Send(piece);
      }
      expected += bytes;
    }
  }
  test.net.Settle();
  CHECK(test.ReadAll() == expected);
}

TEST_CASE("repeated, overlapping and reordered segments give every byte once") {
  Accepting test;
  auto guest = test.Connect();
  const std::string bytes = Pattern(3000);
  const std::string_view all = bytes;
  guest->SendAt(2000, all.substr(2000));
  guest->SendAt(500, all.substr(500, 1000));
  guest->SendAt(0, all.substr(0, 700));
  guest->SendAt(0, all.substr(0, 700));
  guest->SendAt(600, all.substr(600, 1400));
  test.net.Settle();
  CHECK(test.ReadAll() == bytes);
  REQUIRE(test.net.RunUntil([&] { return guest->acknowledged == 3001; }));
}

TEST_CASE("what lies outside the window is not taken, whatever comes before it") {
  Accepting test;
  auto guest = test.Connect();
  guest->SendAt(1024 * 1024 - 100, Pattern(1000));  // Across the window's end.
  guest->SendAt(3'000'000, Pattern(1000));          // Beyond it.
  guest->SendAt(500, Pattern(1000).substr(500));
  guest->SendAt(0, Pattern(500));
  test.net.Settle();
  CHECK(test.ReadAll() == Pattern(1000));
}

TEST_CASE("a reader that never reads closes the window, and reading opens it again") {
  for (const bool scaled : {true, false}) {
    Accepting test;
    auto guest = test.net.NewGuest(Ip::kV4);
    guest->window_scale = scaled;
    guest->Syn();
    REQUIRE(test.net.RunUntil([&] { return guest->open; }));
    test.net.Settle();
    const size_t window = scaled ? 1024 * 1024 : 65535;
    const std::string bytes = Pattern(window + 200'000);
    for (size_t at = 0; at < bytes.size(); at += 20'000) {
      guest->Send(std::string_view(bytes).substr(at, 20'000));
      test.net.Settle();
    }
    REQUIRE(test.net.RunUntil([&] { return guest->acknowledged == window + 1; }));
    CHECK(guest->peer_window == 0);
    CHECK(test.net.stack->stats().buffered_bytes < 2 * window);

    CHECK(test.ReadAll().size() == window);
    REQUIRE(test.net.RunUntil([&] { return guest->peer_window >= window / 2; }));
  }
}

TEST_CASE("a guest that never reads bounds what is buffered for it") {
  Accepting test;
  auto guest = test.Connect();
  guest->auto_ack = false;
  const std::string bytes = Pattern(4096);
  size_t written = 0;
  for (int times = 0; times < 1000; ++times) {
    written += test.stream->Write(bytes);
    test.net.Turn();
  }
  CHECK(written == TestOptions().send_buffer);
  CHECK(test.stream->Room() == 0);
  CHECK(test.net.stack->stats().buffered_bytes < 2 * TestOptions().send_buffer);
}

TEST_CASE("the listener is told when there is room again") {
  Accepting test;
  auto guest = test.Connect();
  struct Counter final : Stream::Listener {
    void OnStreamReady() override { ++calls; }
    int calls = 0;
  } counter;
  test.stream->SetListener(&counter);
  test.net.Settle();
  guest->auto_ack = false;
  const std::string bytes = Pattern(TestOptions().send_buffer);
  CHECK(test.stream->Write(bytes) == bytes.size());
  CHECK(test.stream->Write("more") == 0);
  test.net.Settle();
  counter.calls = 0;
  test.net.Settle();
  CHECK(counter.calls == 0);
  guest->auto_ack = true;
  guest->Ack();
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == bytes.size(); }));
  test.net.Settle();
  CHECK(counter.calls > 0);
  CHECK(counter.calls < 20);
  CHECK(test.stream->Room() == TestOptions().send_buffer);
}

TEST_CASE("many small writes of one turn are few segments") {
  Accepting test;
  auto guest = test.Connect();
  const std::string bytes = Pattern(20);
  for (int times = 0; times < 1000; ++times) CHECK(test.stream->Write(bytes) == 20);
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == 20'000; }));
  CHECK(guest->segments <= 20'000 / 1400 + 3);
}

TEST_CASE("small writes to a guest that acknowledges nothing are joined") {
  Accepting test;
  auto guest = test.Connect();
  guest->auto_ack = false;
  for (int times = 0; times < 2000; ++times) {
    CHECK(test.stream->Write(Pattern(20)) == 20);
    test.net.Turn();
  }
  guest->auto_ack = true;
  guest->Ack();
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == 40'000; }));
  CHECK(guest->segments < 150);
}

TEST_CASE("the first small segments are acknowledged in their turn, later ones wait for company") {
  Accepting test;
  auto guest = test.Connect();
  test.net.Settle();
  for (int i = 0; i < 4; ++i) {
    const uint32_t before = guest->acknowledged;
    guest->Send("few bytes");
    test.net.Turn();
    CHECK(guest->acknowledged == before + 9);
  }
  const uint32_t before = guest->acknowledged;
  guest->Send("few bytes");
  test.net.Turn();
  CHECK(guest->acknowledged == before);
  REQUIRE(test.net.RunUntil([&] { return guest->acknowledged == before + 9; }));
}

TEST_CASE("what comes in one turn is acknowledged once, at its end") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Accepting test;
    auto guest = test.Connect(ip);
    test.net.Settle();
    constexpr size_t kSegments = 62;  // Read in turns of 1 to 32: six at most.
    std::string sent;
    for (size_t at = 0; at < kSegments; ++at) {
      const std::string piece(1400, static_cast<char>('a' + at % 26));
      guest->Send(piece);
      sent += piece;
    }
    const uint64_t before = test.net.stack->stats().frames_out;
    REQUIRE(test.net.RunUntil([&] { return guest->acknowledged == sent.size() + 1; }));
    CHECK(test.net.stack->stats().frames_out - before <= 8);  // A timer's included.
    CHECK(test.ReadAll() == sent);
  }
}

TEST_CASE("a segment that is sent again is acknowledged again") {
  Accepting test;
  auto guest = test.Connect();
  guest->Send(std::string(1000, 'x'));
  test.net.Settle();
  REQUIRE(guest->acknowledged == 1001);
  for (int times = 0; times < 3; ++times) {
    guest->acknowledged = 0;
    guest->SendAt(0, std::string(1000, 'x'));
    test.net.Turn();
    CHECK(guest->acknowledged == 1001);
  }
}

TEST_CASE("a guest with a window of a few bytes is served by bytes") {
  Accepting test;
  auto guest = test.net.NewGuest(Ip::kV4);
  guest->window_scale = false;
  guest->window = 100;
  guest->Syn();
  REQUIRE(test.net.RunUntil([&] { return test.stream != nullptr; }));
  const std::string bytes = Pattern(3000);
  test.WriteAll(bytes);
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == bytes.size(); }));
  CHECK(guest->received == bytes);
}

// The window takes the first bytes of the last segment, which is also the one with the end.
TEST_CASE("the end comes behind the last byte, though the window parts the last segment") {
  Accepting test;
  auto guest = test.net.NewGuest(Ip::kV4);
  guest->window_scale = false;
  guest->Syn();
  REQUIRE(test.net.RunUntil([&] { return test.stream != nullptr; }));
  const std::string bytes = Pattern(1401);
  guest->window = 1000;  // Told with the acknowledgement of the first byte.
  test.WriteAll(bytes.substr(0, 1));
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == 1; }));
  test.WriteAll(bytes.substr(1));
  test.stream->CloseWrite();
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  CHECK(guest->received.size() == bytes.size());
  CHECK(guest->received == bytes);
}

TEST_CASE("each side may finish first and still be sent to") {
  Accepting test;
  auto guest = test.Connect();
  test.stream->Write("hello");
  test.stream->CloseWrite();
  CHECK(test.stream->Room() == 0);
  CHECK(test.stream->Write("late") == 0);
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  CHECK(guest->received == "hello");
  CHECK(test.ReadAll().empty());
  CHECK(test.last == ReadResult::Kind::kWouldBlock);

  guest->Send("still here");
  guest->Fin();
  test.net.Settle();
  // The connection is over; what it brought is there to be read all the same.
  CHECK(test.ReadAll() == "still here");
  CHECK(test.last == ReadResult::Kind::kEnd);
  CHECK(test.net.decider.ended.empty());
  test.stream.reset();
  test.net.Settle();
  CHECK(test.net.decider.ended.size() == 1);
  CHECK(test.net.stack->stats().tcp_flows == 0);
}

TEST_CASE("what is flushed in a turn, and the end behind it, go as one segment") {
  Accepting test;
  auto guest = test.Connect();
  auto work = test.net.loop->Post([&] {
    test.stream->Write("an answer, ");
    test.stream->Flush();
    test.stream->Write("goodbye");
    test.stream->Flush();
    test.stream->CloseWrite();
  });
  test.net.Settle();
  CHECK(guest->received == "an answer, goodbye");
  CHECK(guest->segments == 1);
  CHECK(guest->finished);
}

TEST_CASE("addresses may be used again while the old connection's bytes are unread") {
  Accepting test;
  auto guest = test.Connect();
  test.stream->CloseWrite();
  guest->Send("old");
  guest->Fin();
  test.net.Settle();
  auto old = std::move(test.stream);
  test.net.Forget(*guest);
  auto second = test.net.Connect(Ip::kV4, 40000, 80, 90'000);
  second->Send("new");
  test.net.Settle();
  CHECK(test.ReadAll() == "new");
  std::swap(old, test.stream);
  CHECK(test.ReadAll() == "old");
}

TEST_CASE("destroying the stream delivers what was written, and a late upload resets nothing") {
  Accepting test;
  auto guest = test.Connect();
  const std::string bytes = Pattern(300'000);
  guest->Send(Pattern(5000));
  test.net.Settle();
  guest->auto_ack = false;
  CHECK(test.stream->Write(bytes) == bytes.size());
  test.stream.reset();
  guest->Send(Pattern(5000));
  test.net.Settle();
  guest->auto_ack = true;
  guest->Ack();
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  CHECK(guest->received == bytes);
  CHECK_FALSE(guest->reset);
  guest->Send(Pattern(1000));
  guest->Fin();
  REQUIRE(test.net.RunUntil([&] { return test.net.decider.ended.size() == 1; }));
  CHECK_FALSE(guest->reset);
  CHECK(test.net.decider.ended[0].second.bytes_up == 11'000);
}

TEST_CASE("a reset from the guest breaks the stream, which is told") {
  Accepting test;
  auto guest = test.Connect();
  struct Counter final : Stream::Listener {
    void OnStreamReady() override { ++calls; }
    int calls = 0;
  } counter;
  test.stream->SetListener(&counter);
  test.net.Settle();
  guest->Send("unread");
  test.net.Settle();
  counter.calls = 0;
  guest->Rst();
  test.net.Settle();
  CHECK(counter.calls > 0);
  CHECK(test.ReadAll().empty());
  CHECK(test.last == ReadResult::Kind::kBroken);
  CHECK(test.stream->Room() == 0);
  CHECK(test.stream->Write("x") == 0);
  test.stream->Flush();
  test.stream->CloseWrite();
  test.stream->Abort();
  CHECK(test.net.decider.ended.size() == 1);
}

TEST_CASE("aborting the stream resets the guest") {
  Accepting test;
  auto guest = test.Connect();
  test.stream->Write("never seen");
  test.stream->Abort();
  CHECK(test.ReadAll().empty());
  CHECK(test.last == ReadResult::Kind::kBroken);
  test.net.Settle();
  CHECK(guest->reset);
  CHECK(test.net.decider.ended.size() == 1);
}

TEST_CASE("cutting a flow resets the guest and breaks the stream") {
  Accepting test;
  auto guest = test.Connect();
  CHECK(test.net.stack->CutFlow(test.net.decider.asked[0].id));
  test.net.Settle();
  CHECK(guest->reset);
  CHECK(test.ReadAll().empty());
  CHECK(test.last == ReadResult::Kind::kBroken);
}

TEST_CASE("a listener may destroy its stream when it is told") {
  Accepting test;
  struct Killer final : Stream::Listener {
    explicit Killer(std::unique_ptr<Stream>& target) : stream(target) {}
    void OnStreamReady() override { stream.reset(); }
    std::unique_ptr<Stream>& stream;
  } killer(test.stream);
  auto guest = test.Connect();
  test.stream->SetListener(&killer);
  guest->Send("x");
  REQUIRE(test.net.RunUntil([&] { return guest->finished; }));
  CHECK(test.stream == nullptr);
}

TEST_CASE("what is written in another turn-end callback leaves without a further event") {
  Accepting test;
  auto guest = test.Connect();
  test.net.Settle();
  bool written = false;
  // Registered later than the stack's own, so it runs after it.
  const Loop::Handle late = test.net.loop->AtTurnEnd([&] {
    if (!std::exchange(written, true)) test.stream->Write("late");
  });
  test.net.Turn();
  REQUIRE(written);
  // Nothing wakes the loop up but what the write itself has arranged.
  REQUIRE(test.net.loop->RunOnce());
  CHECK_FALSE(test.net.link->sent().empty());
}

TEST_CASE("lost frames are sent again") {
  Accepting test;
  auto guest = test.Connect();
  test.net.link->set_full(true);
  CHECK(test.stream->Write("again") == 5);
  test.net.Turn();
  test.net.link->set_full(false);
  REQUIRE(test.net.RunUntil([&] { return guest->received == "again"; }));
  CHECK(test.net.stack->stats().dropped(Drop::kLinkFull) >= 1);
}

TEST_CASE("an MSS option in a later segment changes nothing") {
  Accepting test;
  auto guest = test.Connect();
  guest->auto_ack = false;
  test.stream->Write(Pattern(10'000));
  test.net.Settle();
  const auto with_mss = [&](uint8_t high, uint8_t low) {
    test.net.link->Push(IpFrame(Far(Ip::kV4), 6,
                                TcpMessage(Far(Ip::kV4), {.source_port = 40000,
                                                          .destination_port = 80,
                                                          .sequence = 1001,
                                                          .acknowledgement = 0,
                                                          .flags = kAck,
                                                          .options = {2, 4, high, low}})));
    test.net.Settle();
  };
  with_mss(0, 1);
  test.stream->Write(Pattern(10'000));
  with_mss(0xff, 0xff);
  test.stream->Write(Pattern(10'000));
  guest->auto_ack = true;
  guest->Ack();
  REQUIRE(test.net.RunUntil([&] { return guest->received.size() == 30'000; }));
  CHECK(guest->received == Pattern(10'000) + Pattern(10'000) + Pattern(10'000));
}

}  // namespace
}  // namespace sallyport::netstack
