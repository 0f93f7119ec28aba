#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "fixture.h"
#include "netstack/budget.h"
#include "netstack/chunk.h"
#include "netstack/send_queue.h"

namespace sallyport::netstack {
namespace {

TEST_CASE("connections beyond the limit are refused, and work again once there is room") {
  StackOptions options = TestOptions();
  options.max_tcp_flows = 3;
  Fixture net(options);
  std::vector<std::unique_ptr<Stream>> streams;
  net.decider.answer = [&](const FlowInfo&) {
    return AcceptFlow{
        [&](std::unique_ptr<Stream> stream) { streams.push_back(std::move(stream)); }};
  };
  std::vector<std::unique_ptr<GuestTcp>> guests;
  for (uint16_t port = 1; port <= 3; ++port) guests.push_back(net.Connect(Ip::kV4, port));
  auto fourth = net.NewGuest(Ip::kV4, 4);
  fourth->Syn();
  net.Settle();
  CHECK(fourth->reset);
  CHECK(net.stack->stats().dropped(Drop::kFlowLimit) == 1);
  CHECK(net.decider.asked.size() == 3);

  guests[0]->Rst();
  net.Settle();
  net.Connect(Ip::kV4, 5);
  CHECK(streams.size() == 4);
}

TEST_CASE("so are SYNs beyond the number that may wait for a verdict") {
  StackOptions options = TestOptions();
  options.max_tcp_deciding = 2;
  Fixture net(options);
  std::vector<std::unique_ptr<GuestTcp>> guests;
  for (uint16_t port = 1; port <= 3; ++port) {
    guests.push_back(net.NewGuest(Ip::kV4, port));
    guests.back()->Syn();
  }
  net.Settle();
  CHECK(net.decider.asked.size() == 2);
  CHECK(guests[2]->reset);
  net.decider.Answer(net.decider.asked[0].id, DenyFlow{});
  net.Settle();
  guests[2]->Syn();
  net.Settle();
  CHECK(net.decider.asked.size() == 3);
}

TEST_CASE("when memory is spent payload is dropped and sent again, and nothing is lost") {
  StackOptions options = TestOptions();
  options.max_buffered_bytes = 64 * 1024;
  Fixture net(options);
  std::vector<std::unique_ptr<Stream>> streams;
  net.decider.answer = [&](const FlowInfo&) {
    return AcceptFlow{
        [&](std::unique_ptr<Stream> stream) { streams.push_back(std::move(stream)); }};
  };
  auto guest = net.Connect(Ip::kV4);
  std::string bytes(100'000, '\0');
  for (size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<char>(at * 13);
  std::string got;
  while (got.size() < bytes.size()) {
    // The guest sends everything it has no acknowledgement for, as after a timeout.
    const uint32_t from = guest->acknowledged - 1;
    for (uint32_t at = from; at < bytes.size(); at += 1000) {
      guest->SendAt(at, std::string_view(bytes).substr(at, 1000));
    }
    net.Settle();
    CHECK(net.stack->stats().buffered_bytes <= options.max_buffered_bytes);
    std::array<uint8_t, 5000> buffer;
    for (;;) {
      const ReadResult result = streams[0]->Read(buffer);
      if (result.kind != ReadResult::Kind::kBytes) break;
      got.append(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
    }
    REQUIRE(net.RunUntil([&] { return guest->acknowledged - 1 == got.size(); }));
  }
  CHECK(got == bytes);
  CHECK(net.stack->stats().dropped(Drop::kMemoryLimit) > 0);
}

TEST_CASE("a connection that starves for memory goes on when others free it") {
  StackOptions options = TestOptions();
  options.max_buffered_bytes = 80 * 1024;
  Fixture net(options);
  std::vector<std::unique_ptr<Stream>> streams;
  SocketPair pair = TcpPair();
  auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
  net.decider.answer = [&](const FlowInfo& flow) -> FlowVerdict {
    if (flow.destination.port == 81) return SpliceFlow{std::move(*ours)};
    return AcceptFlow{
        [&](std::unique_ptr<Stream> stream) { streams.push_back(std::move(stream)); }};
  };
  auto hog = net.Connect(Ip::kV4, 1);
  auto starved = net.Connect(Ip::kV4, 2, 81);
  hog->auto_ack = false;
  while (streams[0]->Write(std::string(1000, 'x')) > 0) net.Turn();
  REQUIRE(send(pair.theirs.get(), "hello", 5, 0) == 5);
  net.Settle();
  CHECK(starved->received.empty());
  hog->Rst();
  REQUIRE(net.RunUntil([&] { return starved->received == "hello"; }));
}

TEST_CASE("a send queue gives its bytes out in order, however they are filled and acknowledged") {
  Budget budget(10 * 1024 * 1024);
  {
    ChunkPool pool(budget);
    SendQueue queue(pool);
    size_t filled = 0;
    size_t written = 0;
    for (size_t step = 1; step < 400; ++step) {
      std::vector<uint8_t> bytes(step * 97 % 30'000);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(filled++ % 251);
      CHECK(queue.Append(bytes) == bytes.size());
      while (queue.unwritten() > 0 && step % 3 != 0) {
        const auto piece =
            queue.Unwritten().first(std::min<size_t>(queue.Unwritten().size(), 9000));
        bool in_order = true;
        for (const uint8_t byte : piece) in_order = in_order && byte == written++ % 251;
        CHECK(in_order);
        queue.MarkWritten(piece.size());
      }
      if (step % 5 == 0) queue.Acknowledge((queue.size() - queue.unwritten()) / 2);
      if (step % 20 == 0) queue.Acknowledge(queue.size() - queue.unwritten());
    }
    CHECK(queue.Space().size() > 0);
    queue.Commit(0);
    queue.Acknowledge(queue.size() - queue.unwritten());
    queue.Clear();
    CHECK(budget.used() == 0);
  }
}

TEST_CASE("a short message holds little memory until it is acknowledged") {
  Budget budget(10 * 1024 * 1024);
  ChunkPool pool(budget);
  std::vector<std::unique_ptr<SendQueue>> queues;
  for (size_t count = 1; count <= 100; ++count) {
    SendQueue& queue = *queues.emplace_back(std::make_unique<SendQueue>(pool));
    const std::span<uint8_t> space = queue.Space();
    REQUIRE(space.size() >= 4096);  // One read takes more than a message.
    std::ranges::fill(space.first(64), static_cast<uint8_t>(count));
    queue.Commit(64);
    CHECK(queue.size() == 64);
    CHECK(queue.Unwritten().size() == 64);
    CHECK(queue.Unwritten()[63] == count);
    CHECK(budget.used() <= count * 2048);
  }
  // What follows one that waits is behind it.
  queues[0]->Append(std::vector<uint8_t>(3000, 7));
  CHECK(queues[0]->Unwritten()[0] == 1);
  queues[0]->MarkWritten(queues[0]->Unwritten().size());
  CHECK(queues[0]->Unwritten()[0] == 7);
  queues.clear();
  CHECK(budget.used() == 0);
}

TEST_CASE("a pool gives back what nobody has needed since it was asked last") {
  Budget budget(10 * 1024 * 1024);
  ChunkPool pool(budget);
  CHECK_FALSE(pool.keeps_any());
  Chunk* one = pool.Take(ChunkPool::Size::kLarge);
  Chunk* two = pool.Take(ChunkPool::Size::kLarge);
  CHECK_FALSE(pool.Trim());
  pool.Put(one);
  pool.Put(two);
  CHECK(pool.keeps_any());
  CHECK_FALSE(pool.Trim());  // Both were in use a moment ago.
  one = pool.Take(ChunkPool::Size::kLarge);
  pool.Put(one);
  CHECK(pool.Trim());  // One of them was not.
  CHECK(pool.keeps_any());
  CHECK(pool.Trim());
  CHECK_FALSE(pool.keeps_any());
  CHECK_FALSE(pool.Trim());
}

}  // namespace
}  // namespace sallyport::netstack
