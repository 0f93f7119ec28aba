#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "capture_reader.h"
#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/capture_link.h"
#include "netstack/packet.h"
#include "replay_link.h"

namespace sallyport::netstack {
namespace {

struct Parrot final : DatagramService {
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    payloads.emplace_back(payload);
    reply(payload);
  }
  std::vector<std::string> payloads;
};

/// Serves UDP, echoes TCP.
struct Host {
  explicit Host(FakeDecider& to) : decider(to) {
    decider.answer = [this](const FlowInfo& flow) -> std::optional<FlowVerdict> {
      if (capture != nullptr) capture->OnFlow(flow);
      if (flow.transport == Transport::kUdp) return ServeFlow{&parrot};
      return AcceptFlow{[this](std::unique_ptr<Stream> stream) {
        echoes.push_back(std::make_unique<Echo>(std::move(stream)));
      }};
    };
  }
  FakeDecider& decider;
  Capture* capture = nullptr;
  Parrot parrot;
  std::vector<std::unique_ptr<Echo>> echoes;
};

StackOptions Options() {
  StackOptions options = TestOptions();
  options.initial_sequence = 7000;  // So that acknowledgements of another run are right.
  return options;
}

/// What a guest does, captured.
Bytes Record() {
  const UniqueFd file(memfd_create("capture", MFD_CLOEXEC));
  std::unique_ptr<Capture> capture;
  {
    Fixture net(Options(), nullptr, [&](Loop& loop, std::unique_ptr<Link> link) {
      capture = std::make_unique<Capture>(loop, UniqueFd(fcntl(file.get(), F_DUPFD_CLOEXEC, 0)),
                                          nullptr, Capture::Options{});
      return std::make_unique<CaptureLink>(std::move(link), *capture);
    });
    Host host(net.decider);
    host.capture = capture.get();
    for (const Ip ip : {Ip::kV4, Ip::kV6}) {
      net.link->Push(IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), 5000, 53, "datagram")));
      auto guest = net.Connect(ip);
      guest->Send("hello");
      guest->Fin();
      REQUIRE(net.RunUntil([&] { return guest->finished; }));
      CHECK(guest->received == "hello");
      net.Settle();
      net.Forget(*guest);
    }
    net.stack.reset();
    capture.reset();  // Before the loop.
  }
  struct stat info {};
  REQUIRE(fstat(file.get(), &info) == 0);
  Bytes bytes(static_cast<size_t>(info.st_size));
  REQUIRE(pread(file.get(), bytes.data(), bytes.size(), 0) == info.st_size);
  return bytes;
}

struct Replayed {
  std::vector<FlowInfo> asked;
  std::vector<std::string> payloads;
  size_t echoed = 0;
  StackStats stats;
};

Replayed Replay(std::vector<CapturedFrame> frames) {
  auto loop = *Loop::Create();
  FakeDecider decider(*loop);
  Host host(decider);
  const StackOptions options = Options();
  auto link = std::make_unique<ReplayLink>(std::move(frames), options.guest_mac);
  const ReplayLink& wire = *link;
  auto stack = Stack::Create(*loop, std::move(link), decider, options);
  REQUIRE(stack);
  Replayed result;
  for (int quiet = 0; quiet < 5;) {
    const Loop::Handle at_once = loop->Post([] {});
    REQUIRE(loop->RunOnce());
    quiet = wire.left() == 0 ? quiet + 1 : 0;
  }
  result.asked = decider.asked;
  result.payloads = host.parrot.payloads;
  for (const auto& echo : host.echoes) result.echoed += echo->ended ? 1 : 0;
  result.stats = (*stack)->stats();
  return result;
}

TEST_CASE("a capture that is replayed does what the guest did") {
  const auto frames = ReadCapture(Record());
  REQUIRE(frames);
  CHECK(frames->size() >= 20);
  const Replayed again = Replay(*frames);
  REQUIRE(again.asked.size() == 4);
  CHECK(again.asked[0].destination == Endpoint{Far(Ip::kV4), 53});
  CHECK(again.asked[1].destination == Endpoint{Far(Ip::kV4), 80});
  CHECK(again.asked[3].destination == Endpoint{Far(Ip::kV6), 80});
  CHECK(again.payloads == std::vector<std::string>{"datagram", "datagram"});
  CHECK(again.echoed == 2);
  for (size_t reason = 0; reason < kDropReasons; ++reason) CHECK(again.stats.drops[reason] == 0);
}

/// A classic capture with the frames of FRAMES that come from the guest.
Bytes ToPcap(const std::vector<CapturedFrame>& frames, bool nanoseconds, bool big) {
  Bytes out;
  const auto put = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) {
      out.push_back(static_cast<uint8_t>(value >> (big ? 24 - 8 * i : 8 * i)));
    }
  };
  put(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4);
  put(big ? 0x00020004 : 0x00040002);  // Version 2.4.
  put(0);
  put(0);
  put(262144);
  put(1);  // Ethernet.
  for (const CapturedFrame& frame : frames) {
    put(static_cast<uint32_t>(frame.time_ns / 1'000'000'000));
    put(static_cast<uint32_t>(frame.time_ns % 1'000'000'000 / (nanoseconds ? 1 : 1000)));
    put(static_cast<uint32_t>(frame.bytes.size()));
    put(static_cast<uint32_t>(frame.bytes.size()));
    out.insert(out.end(), frame.bytes.begin(), frame.bytes.end());
  }
  return out;
}

TEST_CASE("a classic capture of either byte order and resolution is read, directions by the MAC") {
  const auto frames = ReadCapture(Record());
  REQUIRE(frames);
  for (const bool nanoseconds : {false, true}) {
    for (const bool big : {false, true}) {
      const auto read = ReadCapture(ToPcap(*frames, nanoseconds, big));
      REQUIRE(read);
      REQUIRE(read->size() == frames->size());
      const uint64_t tick = nanoseconds ? 1 : 1000;
      CHECK(read->at(3).time_ns / tick == frames->at(3).time_ns / tick);
      CHECK(read->at(3).bytes == frames->at(3).bytes);
      CHECK(Replay(*read).asked.size() == 4);
    }
  }
}

// A big-endian section with a simple block and one of a kind that nobody knows.
TEST_CASE("a pcapng of the other byte order is read, and unknown blocks are passed over") {
  const Bytes capture{
      0x0a, 0x0d, 0x0d, 0x0a, 0,    0,    0,    28,   0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0,  // A
                                                                                           // section,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    0,    0,    28,  // of any length.
      0,    0,    0,    1,    0,    0,    0,    20,   0,    1,    0,    0,    0, 0, 0, 0,  0,
      0,    0,    20,  // Ethernet.
      0,    0,    0x0b, 0xad, 0,    0,    0,    16,   1,    2,    3,    4,    0, 0, 0, 16,  // Unknown.
      0,    0,    0,    3,    0,    0,    0,    20,   0,    0,    0,    3,    7, 8, 9, 0,  0,
      0,    0,    20,  // 7 8 9.
  };
  const auto frames = ReadCapture(capture);
  REQUIRE(frames);
  REQUIRE(frames->size() == 1);
  CHECK(frames->at(0).bytes == Bytes{7, 8, 9});
}

TEST_CASE("a capture that is cut, or lies about a length, is refused or gives whole frames") {
  const Bytes whole = Record();
  const auto all = ReadCapture(whole);
  REQUIRE(all);
  for (const Bytes& capture : {whole, ToPcap(*all, true, false)}) {
    size_t refused = 0;
    for (size_t size = 0; size < capture.size(); ++size) {
      const auto cut = ReadCapture(std::span(capture).first(size));
      if (!cut) {
        ++refused;
        CHECK(cut.error().code() == Code::kInvalid);
        continue;
      }
      REQUIRE(cut->size() < all->size());
      for (size_t i = 0; i < cut->size(); ++i) CHECK(cut->at(i).bytes == all->at(i).bytes);
    }
    CHECK(refused > capture.size() / 2);
  }
  for (size_t at = 0; at < std::min<size_t>(whole.size(), 400); ++at) {
    Bytes wrong = whole;
    wrong[at] ^= 0xff;
    (void)ReadCapture(wrong);  // Anything but a crash.
  }
}

TEST_CASE("hostile frames of a capture reach the counters and nobody else") {
  const Bytes good = IpFrame(Far(Ip::kV4), kProtocolUdp, UdpMessage(Far(Ip::kV4), 1, 2, "x"));
  Bytes spoofed = good;
  spoofed[11] ^= 1;
  Bytes sum = good;
  sum.back() ^= 1;
  Bytes options = good;
  options[14] = 0x46;
  std::vector<CapturedFrame> frames;
  for (const Bytes& bytes : {spoofed, sum, options, Bytes{1, 2, 3}, Bytes(200'000)}) {
    frames.push_back({.time_ns = 0,
                      .direction = CapturedFrame::Direction::kInbound,
                      .bytes = bytes,
                      .comment = {}});
  }
  const Replayed result = Replay(std::move(frames));
  CHECK(result.asked.empty());
  CHECK(result.stats.dropped(Drop::kSpoofed) == 1);
  CHECK(result.stats.dropped(Drop::kChecksum) == 1);
  CHECK(result.stats.dropped(Drop::kHeaderOption) == 1);
  CHECK(result.stats.dropped(Drop::kMalformed) == 1);
  CHECK(result.stats.dropped(Drop::kNotForUs) == 1);
}

}  // namespace
}  // namespace sallyport::netstack
