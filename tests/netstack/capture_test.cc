#include "netstack/capture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include <string>

#include "capture_reader.h"
#include "fixture.h"
#include "netstack/capture_link.h"
#include "netstack/frame_flow.h"
#include "netstack/packet.h"
#include "netstack/pcapng.h"

namespace sallyport::netstack {
namespace {

using namespace std::chrono_literals;
using Direction = CapturedFrame::Direction;

// ---- The format, byte for byte as the draft has it.

std::string Bytewise(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}

TEST_CASE("a pcapng file begins with a section and one Ethernet interface of nanoseconds") {
  std::string out;
  AppendPcapngHeader(out, {.application = "abc", .name = "gate", .description = "d"});
  CHECK(out ==
        Bytewise({
            0x0a, 0x0d, 0x0d, 0x0a, 40,   0,    0,    0,     // A section's header, 40 bytes;
            0x4d, 0x3c, 0x2b, 0x1a, 1,    0,    0,    0,     // little-endian, version 1.0,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  // to the end of the file;
            4,    0,    3,    0,    'a',  'b',  'c',  0,     // the application,
            0,    0,    0,    0,    40,   0,    0,    0,     // no more options.
            1,    0,    0,    0,    48,   0,    0,    0,     // An interface, 48 bytes;
            1,    0,    0,    0,    0,    0,    0,    0,     // Ethernet, no bound;
            2,    0,    4,    0,    'g',  'a',  't',  'e',  3, 0, 1, 0, 'd', 0, 0, 0,  // names;
            9,    0,    1,    0,    9,    0,    0,    0,  // 10^-9 seconds,
            0,    0,    0,    0,    48,   0,    0,    0,
        }));
}

TEST_CASE("a frame is an enhanced packet block with its time, direction and comment") {
  const Bytes bytes{1, 2, 3, 4, 5};
  std::string out;
  AppendPcapngFrame(out, {.time_ns = 0x0102030405060708,
                          .direction = PcapngDirection::kOutbound,
                          .bytes = bytes,
                          .comment = "hi"});
  CHECK(out == Bytewise({
                   6, 0, 0, 0, 60,  0,   0, 0,              // 60 bytes,
                   0, 0, 0, 0, 4,   3,   2, 1, 8, 7, 6, 5,  // interface 0, the time's two halves,
                   5, 0, 0, 0, 5,   0,   0, 0,              // kept and on the wire,
                   1, 2, 3, 4, 5,   0,   0, 0,              // the frame, padded;
                   2, 0, 4, 0, 2,   0,   0, 0,              // outbound,
                   1, 0, 2, 0, 'h', 'i', 0, 0,              // the comment,
                   0, 0, 0, 0, 60,  0,   0, 0,
               }));
  out.clear();
  AppendPcapngFrame(
      out, {.time_ns = 0, .direction = PcapngDirection::kInbound, .bytes = {}, .comment = {}});
  CHECK(out.size() == 44);
}

TEST_CASE("a comment that is too long is cut before a character") {
  const auto kept = [](const std::string& comment) {
    std::string out;
    AppendPcapngHeader(out, {.application = "a", .name = "b", .description = "c"});
    AppendPcapngFrame(
        out,
        {.time_ns = 0, .direction = PcapngDirection::kInbound, .bytes = {}, .comment = comment});
    const auto frames = ReadCapture({reinterpret_cast<const uint8_t*>(out.data()), out.size()});
    REQUIRE(frames);
    return frames->at(0).comment;
  };
  CHECK(kept(std::string(4096, 'x')).size() == 4096);
  CHECK(kept(std::string(70'000, 'x')).size() == 4096);
  CHECK(kept(std::string(4095, 'x') + "\u00e9").size() == 4095);
  CHECK(kept(std::string(70'000, '\x80')).empty());
}

// ---- Whose a frame is.

TEST_CASE("the flow of a frame is seen in it, or in what an ICMP error quotes") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    const Bytes udp = IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), 5000, 53, "x"));
    const auto flow = FlowOfFrame(udp);
    REQUIRE(flow);
    CHECK(flow->transport == Transport::kUdp);
    CHECK(flow->source.port == 5000);
    CHECK(flow->destination == Endpoint{Far(ip), 53});

    Bytes quoting{static_cast<uint8_t>(ip == Ip::kV4 ? 3 : 1), 0, 0, 0, 0, 0, 0, 0};
    quoting.insert(quoting.end(), udp.begin() + 14, udp.end());
    const uint8_t protocol = ip == Ip::kV4 ? kProtocolIcmp : kProtocolIcmp6;
    const auto quoted = FlowOfFrame(IpFrame(Far(ip), protocol, quoting));
    REQUIRE(quoted);
    CHECK(quoted->destination == Endpoint{Far(ip), 53});
    for (size_t size = 0; size < udp.size() - 5; ++size) {
      CHECK_FALSE(FlowOfFrame(std::span(udp).first(size)));
    }
  }
  CHECK_FALSE(FlowOfFrame(EthernetFrame(0x0806, Bytes(28))));
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    const uint8_t protocol = ip == Ip::kV4 ? kProtocolIcmp : kProtocolIcmp6;
    Bytes ping = EchoRequest(Far(ip), "x", 1, 77);
    const auto request = FlowOfFrame(IpFrame(Far(ip), protocol, ping));
    REQUIRE(request);
    CHECK(request->transport == Transport::kIcmp);
    CHECK(request->source.port == 77);
    CHECK(request->destination == Endpoint{Far(ip), 0});
    const FlowInfo flow{.id = 1,
                        .transport = Transport::kIcmp,
                        .source = request->source,
                        .destination = request->destination};
    CHECK(Belongs(*request, flow));
    ping[0] = ip == Ip::kV4 ? 0 : 129;
    const auto reply = FlowOfFrame(IpFrame(Far(ip), protocol, ping));
    REQUIRE(reply);
    CHECK(reply->destination.port == 77);
    CHECK(Belongs({Transport::kIcmp, request->destination, request->source}, flow));
    ping[5] = 78;
    ping[0] = ip == Ip::kV4 ? 8 : 128;
    CHECK_FALSE(Belongs(*FlowOfFrame(IpFrame(Far(ip), protocol, ping)), flow));
    CHECK_FALSE(FlowOfFrame(IpFrame(Far(ip), protocol, Bytes(ping.begin(), ping.begin() + 7))));
  }
  const auto fragments = Fragments(Far(Ip::kV4), kProtocolUdp, Bytes(3000));
  CHECK(FlowOfFrame(fragments[0]));
  CHECK_FALSE(FlowOfFrame(fragments[1]));
}

// ---- A capture of a stack.

struct Doubled final : DatagramService {
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    reply(payload);
  }
};

/// A stack whose link is captured in a file of memory.
struct Captured {
  explicit Captured(Capture::Options given = {}, UniqueFd to = {},
                    const StackOptions& options = TestOptions())
      : file(to.valid() ? std::move(to) : UniqueFd(memfd_create("capture", MFD_CLOEXEC))),
        net(options, &clock, [this, &given](Loop& loop, std::unique_ptr<Link> link) {
          given.application = "test";
          given.wall = [this] { return std::chrono::system_clock::time_point(wall); };
          UniqueFd copy(fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
          capture = std::make_unique<Capture>(
              loop, std::move(copy), [this](std::string why) { ends.push_back(std::move(why)); },
              std::move(given));
          return std::make_unique<CaptureLink>(std::move(link), *capture);
        }) {
    net.decider.answer = [this](const FlowInfo& flow) -> std::optional<FlowVerdict> {
      capture->OnFlow(flow);
      if (!decide) return std::nullopt;
      capture->OnVerdict(flow.id, "allowed by rule 1");
      return ServeFlow{&service};
    };
  }
  ~Captured() {
    net.stack.reset();
    capture.reset();
  }

  void SendUdp(std::string_view data, uint16_t port = 53, Ip ip = Ip::kV4) {
    net.link->Push(IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), 5000, port, data)));
  }
  std::vector<CapturedFrame> Frames() {
    struct stat info {};
    REQUIRE(fstat(file.get(), &info) == 0);
    Bytes bytes(static_cast<size_t>(info.st_size));
    REQUIRE(pread(file.get(), bytes.data(), bytes.size(), 0) == info.st_size);
    auto frames = ReadCapture(bytes);
    REQUIRE(frames);
    return *std::move(frames);
  }

  ManualClock clock;
  std::chrono::seconds wall{1'700'000'000};
  bool decide = true;
  Doubled service;
  UniqueFd file;
  std::unique_ptr<Capture> capture;
  std::vector<std::string> ends;
  Fixture net;
};

TEST_CASE("both directions are captured, and the first frame of a flow says what was decided") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Captured test;
    test.SendUdp("one", 53, ip);
    test.net.Settle();
    test.wall += 1s;
    test.SendUdp("two", 53, ip);
    test.net.Settle();
    const auto frames = test.Frames();
    REQUIRE(frames.size() == 4);
    CHECK(frames[0].direction == Direction::kInbound);
    CHECK(frames[0].bytes == IpFrame(Far(ip), kProtocolUdp, UdpMessage(Far(ip), 5000, 53, "one")));
    CHECK(frames[0].comment == "flow 1, allowed by rule 1");
    CHECK(frames[0].time_ns == 1'700'000'000'000'000'000);
    CHECK(frames[1].direction == Direction::kOutbound);
    CHECK(frames[1].bytes.size() == frames[0].bytes.size());
    CHECK(frames[1].comment.empty());
    CHECK(frames[2].comment.empty());
    CHECK(frames[2].time_ns == 1'700'000'001'000'000'000);
  }
}

TEST_CASE("the frame of a flow that a limit refuses says so") {
  StackOptions options = TestOptions();
  options.new_flows_per_second = 1;
  options.new_flow_burst = 1;
  Captured test({}, {}, options);
  test.net.decider.on_refused = [&](const FlowInfo& flow, Drop) {
    test.capture->OnRefused(flow, "denied: limit");
  };
  test.SendUdp("one");
  test.SendUdp("other", 54);
  const auto guest = test.net.NewGuest(Ip::kV4, 443);
  guest->Syn();
  test.net.link->Push(IpFrame(Far(Ip::kV6), kProtocolIcmp6, EchoRequest(Far(Ip::kV6), "x", 1, 77)));
  test.net.Settle();
  CHECK(test.net.decider.asked.size() == 1);
  std::vector<std::string> comments;
  for (const CapturedFrame& frame : test.Frames()) {
    if (frame.direction == Direction::kInbound) comments.push_back(frame.comment);
  }
  CHECK(comments == std::vector<std::string>{"flow 1, allowed by rule 1", "denied: limit",
                                             "denied: limit", "denied: limit"});
}

TEST_CASE("frames wait for a verdict, in order, and not for long") {
  Captured test;
  test.decide = false;
  test.SendUdp("one");
  test.net.Settle();
  const uint64_t id = test.net.decider.asked.at(0).id;
  test.decide = true;
  test.SendUdp("other", 54);
  test.net.Settle();
  CHECK(test.Frames().empty());
  test.capture->OnVerdict(id, "denied by rule 2");
  test.net.decider.Answer(id, DenyFlow{});
  test.net.Settle();
  const auto frames = test.Frames();
  REQUIRE(frames.size() == 4);
  CHECK(frames[0].comment == "flow 1, denied by rule 2");
  CHECK(frames[1].comment == "flow 2, allowed by rule 1");
}

TEST_CASE("a verdict that takes its time stands at the flow's next frame") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Captured test;
    test.decide = false;
    test.SendUdp("one", 53, ip);
    test.net.Settle();
    test.net.Pass(test.clock, 300ms);
    REQUIRE(test.Frames().size() == 1);
    CHECK(test.Frames()[0].comment == "flow 1");
    test.capture->OnVerdict(1, "denied by rule 2");
    test.net.decider.Answer(1, DenyFlow{});
    test.net.Settle();
    auto frames = test.Frames();
    REQUIRE(frames.size() == 2);  // The ICMP error, which quotes the first.
    CHECK(frames[1].comment == "flow 1, denied by rule 2");
    test.SendUdp("two", 53, ip);
    test.net.Settle();
    frames = test.Frames();
    CHECK(frames.back().comment.empty());
  }
}

TEST_CASE("so many bytes wait for a verdict, and no more") {
  Captured test(Capture::Options{.application = {}, .description = {}, .max_held = 10'000});
  test.decide = false;
  test.SendUdp("first");
  test.net.Settle();
  for (int count = 0; count < 20; ++count) test.SendUdp(std::string(1000, 'x'));
  REQUIRE(test.net.RunUntil([&] { return test.Frames().size() >= 12; }));
  CHECK(test.Frames()[0].comment == "flow 1");
}

TEST_CASE("what waits is written when the capture is closed") {
  Captured test;
  test.decide = false;
  test.SendUdp("one");
  test.net.Settle();
  CHECK(test.Frames().empty());
  test.net.stack.reset();
  test.capture.reset();
  CHECK(test.Frames().size() == 1);
  CHECK(test.ends.empty());
}

TEST_CASE("at its bound a capture ends, with one notice and a whole block; the network does not") {
  Captured test(Capture::Options{.application = {}, .description = {}, .max_bytes = 2000});
  for (int count = 0; count < 20; ++count) {
    test.SendUdp(std::string(300, 'x'));
    test.net.Settle();
  }
  CHECK(test.ends.size() == 1);
  CHECK(test.net.seen.size() == 20);
  CHECK(test.Frames().size() == 4);
}

TEST_CASE("a disk that is full ends a capture, with one notice and a whole block") {
  // A file that can't grow beyond two pages stands for it.
  UniqueFd file(memfd_create("capture", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(ftruncate(file.get(), 8192) == 0);
  REQUIRE(fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW) == 0);
  Captured test({}, std::move(file));
  for (int count = 0; count < 20; ++count) {
    test.SendUdp(std::string(900, 'x'));
    test.net.Settle();
  }
  REQUIRE(test.ends.size() == 1);
  CHECK(test.ends[0].find("write") != std::string::npos);
  CHECK(test.net.seen.size() == 20);
  const auto frames = test.Frames();
  CHECK(frames.size() >= 6);
  CHECK(frames.size() <= 8);
}

TEST_CASE("a capture that can't be written at all ends with its first frame") {
  Captured full({}, UniqueFd(open("/dev/full", O_WRONLY | O_CLOEXEC)));
  full.SendUdp("x");
  full.net.Settle();
  CHECK(full.ends.size() == 1);
  CHECK(full.net.seen.size() == 1);
}

TEST_CASE(
    "flows beyond the bound of those that wait have no verdict in the file, and nothing else is "
    "lost") {
  Captured test;
  test.decide = false;
  for (uint16_t port = 1; port <= 1100; ++port) {
    test.SendUdp("x", port);
    if (port % 50 == 0) test.net.Settle();
  }
  test.net.Settle();
  test.net.Pass(test.clock, 300ms);
  CHECK(test.Frames().size() == 1100);
  for (uint64_t id = 1; id <= 1100; ++id) test.capture->OnVerdict(id, "denied by rule 2");
  test.SendUdp("x", 1);
  test.SendUdp("x", 1100);
  test.net.Settle();
  const auto frames = test.Frames();
  REQUIRE(frames.size() == 1102);
  CHECK(frames[1100].comment.empty());
  CHECK(frames[1101].comment == "flow 1100, denied by rule 2");
}

}  // namespace
}  // namespace sallyport::netstack
