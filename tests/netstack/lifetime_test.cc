// Everything that waits, destroyed while it waits; under AddressSanitizer this finds what dangles.

#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "fixture.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

TEST_CASE("there is one stack at a time, and another after it") {
  Fixture net;
  auto link = MemoryLink::Create();
  REQUIRE(link);
  auto second = Stack::Create(*net.loop, std::move(*link), net.decider, TestOptions());
  REQUIRE_FALSE(second);
  CHECK(second.error().code() == Code::kLimit);
  net.stack.reset();
  for (int times = 0; times < 3; ++times) {
    auto again = MemoryLink::Create();
    auto made = Stack::Create(*net.loop, std::move(*again), net.decider, TestOptions());
    REQUIRE(made);
  }
}

TEST_CASE("options that make no sense are refused") {
  const auto refused = [](auto change) {
    StackOptions options = TestOptions();
    change(options);
    auto loop = Loop::Create();
    FakeDecider decider(**loop);
    auto made = Stack::Create(**loop, std::move(*MemoryLink::Create()), decider, options);
    return !made && made.error().code() == Code::kInvalid;
  };
  CHECK(refused([](StackOptions& o) { o.guest_v4 = IpAddress(); }));
  CHECK(refused([](StackOptions& o) { o.guest_v6 = o.guest_v4; }));
  CHECK(refused([](StackOptions& o) { o.gateway_v4 = o.guest_v4; }));
  CHECK(refused([](StackOptions& o) { o.gateway_mac = o.guest_mac; }));
  CHECK(refused([](StackOptions& o) { o.mtu = 1279; }));
  const auto configure = [&](const IpAddress& gateway_v4, const char* gateway_v6) {
    return refused([&](StackOptions& o) {
      o.configure_guest = true;
      o.gateway_v4 = gateway_v4;
      o.gateway_v6 = *IpAddress::Parse(gateway_v6);
    });
  };
  CHECK(configure(IpAddress::V4(10, 0, 3, 2), "fd00:5a11::2"));
  CHECK(configure(IpAddress::V4(10, 0, 2, 2), "fd00:5a11:0:1::2"));
  CHECK_FALSE(configure(IpAddress::V4(10, 0, 2, 2), "fd00:5a11::2"));
  CHECK_FALSE(refused([](StackOptions&) {}));
}

TEST_CASE("destroying the stack cancels the verdicts it waits for") {
  Fixture net;
  auto guest = net.NewGuest(Ip::kV4);
  guest->Syn();
  net.link->Push(IpFrame(Far(Ip::kV4), kProtocolUdp, UdpMessage(Far(Ip::kV4), 1, 2, "x")));
  net.Settle();
  REQUIRE(net.decider.asked.size() == 2);
  net.stack.reset();
  CHECK(net.decider.cancelled == 2);
  CHECK(net.decider.ended.empty());
}

TEST_CASE("destroying the stack during a handshake, with half a fragment waiting") {
  Fixture net;
  net.decider.answer = [](const FlowInfo&) {
    return AcceptFlow{[](std::unique_ptr<Stream>) { FAIL("not open yet"); }};
  };
  Bytes part = IpPacket(Far(Ip::kV4), kProtocolUdp, Bytes(16));
  part[6] = 0x20;  // More fragments; was 0x40, so the checksum gains 0x2000.
  const uint32_t sum = (uint32_t{part[10]} << 8 | part[11]) + 0x2000;
  const uint32_t folded = (sum & 0xffff) + (sum >> 16);
  part[10] = static_cast<uint8_t>(folded >> 8);
  part[11] = static_cast<uint8_t>(folded);
  net.link->Push(EthernetFrame(0x0800, part));
  auto guest = net.NewGuest(Ip::kV4);
  guest->auto_ack = false;
  guest->Syn();
  REQUIRE(net.RunUntil([&] { return guest->open; }));
  CHECK(net.stack->stats().dropped(Drop::kChecksum) == 0);
  net.stack.reset();
  CHECK(net.decider.ended.size() == 1);
}

TEST_CASE("a stream outlives the stack, broken") {
  std::unique_ptr<Stream> stream;
  struct Counter final : Stream::Listener {
    void OnStreamReady() override { ++calls; }
    int calls = 0;
  } counter;
  Fixture net;
  net.decider.answer = [&](const FlowInfo&) {
    return AcceptFlow{[&](std::unique_ptr<Stream> made) { stream = std::move(made); }};
  };
  auto guest = net.Connect(Ip::kV4);
  guest->auto_ack = false;
  guest->Send("unread");
  stream->SetListener(&counter);
  stream->Write(std::string(100'000, 'x'));
  net.Settle();
  stream->Write("unsent");
  counter.calls = 0;
  net.stack.reset();
  CHECK(net.decider.ended.size() == 1);
  net.Turn();
  CHECK(counter.calls > 0);
  std::array<uint8_t, 10> buffer;
  CHECK(stream->Read(buffer).kind == ReadResult::Kind::kBroken);
  CHECK(stream->Write("x") == 0);
  stream->CloseWrite();
  stream.reset();
}

TEST_CASE("destroying the stack with splices in every state closes their sockets") {
  for (int state = 0; state < 4; ++state) {
    SocketPair pair = TcpPair();
    auto ours = std::make_shared<UniqueFd>(std::move(pair.ours));
    Fixture net;
    net.decider.answer = [ours](const FlowInfo&) { return SpliceFlow{std::move(*ours)}; };
    auto guest = net.Connect(Ip::kV4);
    guest->auto_ack = false;
    if (state == 1) guest->Send("up");
    if (state == 2) REQUIRE(send(pair.theirs.get(), "down", 4, 0) == 4);
    if (state == 3) shutdown(pair.theirs.get(), SHUT_WR);
    net.Settle();
    net.stack.reset();
    CHECK(net.decider.ended.size() == 1);
    const auto read = ReadSome(pair.theirs.get());
    CHECK((!read || read->empty() || *read == "up"));
  }
}

TEST_CASE("destroying the stack while a closed connection lingers") {
  std::unique_ptr<Stream> stream;
  Fixture net;
  net.decider.answer = [&](const FlowInfo&) {
    return AcceptFlow{[&](std::unique_ptr<Stream> made) { stream = std::move(made); }};
  };
  auto guest = net.Connect(Ip::kV4);
  guest->auto_ack = false;
  stream->Write(std::string(1000, 'x'));
  stream.reset();
  net.Settle();
  net.stack.reset();
  CHECK(net.decider.ended.size() == 1);
}

TEST_CASE("frames that were never read go with the link") {
  Fixture net;
  auto guest = net.NewGuest(Ip::kV4);
  for (int count = 0; count < 200; ++count) guest->Syn();
  net.Turn();
  net.stack.reset();
}

TEST_CASE("a link that is gone stops the stack, and is said") {
  Fixture net;
  net.link->Disappear();
  net.Settle();
  CHECK(net.stack->stats().link_failed);
}

}  // namespace
}  // namespace sallyport::netstack
