#include "netstack/socket_link.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include <array>
#include <string>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/frame_stream.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

using Kind = Link::Received::Kind;

/// A link, and the end of a socket pair that a virtual machine's card would have.
struct Wired {
  explicit Wired(int type) : loop(*Loop::Create()) {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    card = UniqueFd(ends[1]);
    auto made = MakeSocketLink(UniqueFd(ends[0]));
    REQUIRE(made);
    link = std::move(*made);
  }
  void Watch() {
    auto made = link->Watch(*loop, [this] { ReadAll(); });
    REQUIRE(made);
    watch = std::move(*made);
  }
  void ReadAll() {
    for (;;) {
      const Link::Received got = link->Read(buffer);
      if (got.kind == Kind::kGone) {
        gone = true;
        watch = {};
      }
      if (got.kind != Kind::kFrame) return;
      CHECK_FALSE(got.checksum_trusted);
      frames.emplace_back(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(got.length));
    }
  }
  void Turn() {
    const Loop::Handle at_once = loop->Post([] {});
    REQUIRE(loop->RunOnce());
  }
  bool Write(const Bytes& frame) {
    // In two pieces, as the stack does.
    const size_t cut = frame.size() / 2;
    std::array<iovec, 3> parts{iovec{}, iovec{const_cast<uint8_t*>(frame.data()), cut},
                               iovec{const_cast<uint8_t*>(frame.data()) + cut, frame.size() - cut}};
    return link->Write(parts, {});
  }

  std::unique_ptr<Loop> loop;
  UniqueFd card;
  std::unique_ptr<Link> link;
  Loop::Handle watch;
  Bytes buffer = Bytes(kMaxFrame);
  std::vector<Bytes> frames;
  bool gone = false;
};

Bytes Pattern(size_t size, uint8_t start) {
  Bytes bytes(size);
  for (size_t at = 0; at < size; ++at) bytes[at] = static_cast<uint8_t>(start + at * 7);
  return bytes;
}

void Send(int socket, const Bytes& bytes) {
  REQUIRE(send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
}

Bytes Prefixed(const Bytes& frame) {
  Bytes bytes(4);
  Store32(bytes.data(), static_cast<uint32_t>(frame.size()));
  bytes.insert(bytes.end(), frame.begin(), frame.end());
  return bytes;
}

/// What the card finds, of up to SIZE bytes.
Bytes Receive(int socket, size_t size) {
  Bytes bytes(size);
  const ssize_t got = recv(socket, bytes.data(), size, MSG_DONTWAIT);
  bytes.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return bytes;
}

TEST_CASE("frames of up to 64 KiB go both ways, one a message") {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    Wired wired(type);
    CHECK_FALSE(wired.link->has_offload());
    for (const size_t size : {size_t{1}, size_t{60}, size_t{1514}, kMaxFrame}) {
      const Bytes frame = Pattern(size, 3);
      Send(wired.card.get(), frame);
      wired.ReadAll();
      REQUIRE_FALSE(wired.frames.empty());
      CHECK(wired.frames.back() == frame);
      REQUIRE(wired.Write(frame));
      CHECK(Receive(wired.card.get(), kMaxFrame + 1) == frame);
    }
    CHECK(wired.frames.size() == 4);
  }
}

TEST_CASE("frames go both ways through a byte stream, each behind its length") {
  Wired wired(SOCK_STREAM);
  const Bytes small = Pattern(60, 1);
  const Bytes large = Pattern(kMaxFrame, 2);
  Bytes both = Prefixed(small);
  const Bytes second = Prefixed(large);
  both.insert(both.end(), second.begin(), second.end());
  Send(wired.card.get(), both);
  wired.ReadAll();
  CHECK(wired.frames == std::vector<Bytes>{small, large});

  REQUIRE(wired.Write(small));
  REQUIRE(wired.Write(large));
  CHECK(Receive(wired.card.get(), both.size() + 1) == both);
}

TEST_CASE("a byte stream gives the same frames wherever it is cut") {
  Bytes stream;
  for (const size_t size : {1u, 60u, 14u}) {
    const Bytes next = Prefixed(Pattern(size, 9));
    stream.insert(stream.end(), next.begin(), next.end());
  }
  for (size_t first = 0; first <= stream.size(); ++first) {
    for (size_t second = first; second <= stream.size(); ++second) {
      FrameStream frames;
      std::vector<size_t> sizes;
      size_t at = 0;
      for (const size_t end : {first, second, stream.size()}) {
        std::copy(stream.begin() + static_cast<ptrdiff_t>(at),
                  stream.begin() + static_cast<ptrdiff_t>(end), frames.Room().begin());
        frames.Filled(end - at);
        at = end;
        while (const auto frame = frames.Next()) sizes.push_back(frame->size());
        CHECK_FALSE(frames.pending());
      }
      CHECK(sizes == std::vector<size_t>{1, 60, 14});
    }
  }
}

TEST_CASE("a length that no frame has ends a byte stream") {
  for (const uint32_t length : {uint32_t{0}, static_cast<uint32_t>(kMaxFrame + 1), 0xffffffffu}) {
    Wired wired(SOCK_STREAM);
    wired.Watch();
    Bytes bytes = Prefixed(Pattern(20, 1));
    bytes.resize(bytes.size() + 4);
    Store32(&bytes[24], length);
    bytes.resize(bytes.size() + 100);
    Send(wired.card.get(), bytes);
    wired.Turn();
    CHECK(wired.frames.size() == 1);
    CHECK(wired.gone);
  }
}

TEST_CASE("frames that lie in memory are read though the socket is empty") {
  Wired wired(SOCK_STREAM);
  size_t calls = 0;
  auto watch = wired.link->Watch(*wired.loop, [&] {
    ++calls;  // One a turn only, as a stack that has much to do.
    if (wired.link->Read(wired.buffer).kind == Kind::kFrame) wired.frames.emplace_back();
  });
  REQUIRE(watch);
  Bytes bytes;
  for (int count = 0; count < 5; ++count) {
    const Bytes next = Prefixed(Pattern(60, 1));
    bytes.insert(bytes.end(), next.begin(), next.end());
  }
  Send(wired.card.get(), bytes);
  for (int turn = 0; turn < 6; ++turn) wired.Turn();
  CHECK(wired.frames.size() == 5);
  CHECK(calls >= 5);
}

TEST_CASE("of a message that is longer than any frame nothing is left") {
  Wired wired(SOCK_DGRAM);
  Send(wired.card.get(), Bytes(kMaxFrame + 1));
  Send(wired.card.get(), Pattern(60, 1));
  wired.ReadAll();
  CHECK(wired.frames == std::vector<Bytes>{Bytes(), Pattern(60, 1)});
}

TEST_CASE("what a full socket does not take waits, in order, and what is too much is lost") {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM}) {
    Wired wired(type);
    wired.Watch();
    size_t taken = 0;
    while (wired.Write(Pattern(60'000, static_cast<uint8_t>(taken)))) {
      ++taken;
      REQUIRE(taken < 2000);  // 120 MB.
    }
    CHECK(taken >= 139);  // 8 MiB wait.
    Bytes got;
    std::vector<Bytes> messages;
    const size_t all = taken * 60'004;
    while (type == SOCK_STREAM ? got.size() < all : messages.size() < taken) {
      const Bytes next = Receive(wired.card.get(), 70'000);
      if (next.empty()) {
        wired.Turn();
      } else if (type == SOCK_STREAM) {
        got.insert(got.end(), next.begin(), next.end());
      } else {
        messages.push_back(next);
      }
    }
    for (size_t index = 0; index < taken; ++index) {
      const Bytes expected = Pattern(60'000, static_cast<uint8_t>(index));
      if (type != SOCK_STREAM) {
        CHECK(messages[index] == expected);
        continue;
      }
      const auto at = got.begin() + static_cast<ptrdiff_t>(index * 60'004);
      REQUIRE(std::equal(expected.begin(), expected.end(), at + 4));
    }
    CHECK(wired.Write(Pattern(60, 1)));
  }
}

TEST_CASE("a card that goes away is noticed: when it is read from, or by what is sent to it") {
  for (const int type : {SOCK_SEQPACKET, SOCK_STREAM}) {
    Wired wired(type);
    wired.Watch();
    wired.card.reset();
    wired.Turn();
    CHECK(wired.gone);
  }
  Wired wired(SOCK_DGRAM);
  wired.Watch();
  wired.card.reset();
  CHECK_FALSE(wired.Write(Pattern(60, 1)));
  wired.Turn();
  CHECK(wired.gone);
  CHECK_FALSE(wired.Write(Pattern(60, 1)));
}

TEST_CASE("what is no local socket is refused") {
  UniqueFd other(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  CHECK(MakeSocketLink(std::move(other)).error().code() == Code::kInvalid);
  CHECK_FALSE(MakeSocketLink(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))));
}

// ---- A stack behind it.

struct Parrot final : DatagramService {
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    reply(payload);
  }
};

TEST_CASE("a stack talks to a card with an MTU of 65,520, and does not trust its checksums") {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM}) {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    const UniqueFd card(ends[1]);
    auto link = MakeSocketLink(UniqueFd(ends[0]));
    REQUIRE(link);
    auto loop = *Loop::Create();
    FakeDecider decider(*loop);
    Parrot parrot;
    decider.answer = [&](const FlowInfo&) { return ServeFlow{&parrot}; };
    StackOptions options = TestOptions();
    options.mtu = 65520;
    auto stack = Stack::Create(*loop, std::move(*link), decider, options);
    REQUIRE(stack);

    const std::string data(65'000, 'q');
    const Bytes frame =
        IpFrame(Far(Ip::kV6), kProtocolUdp, UdpMessage(Far(Ip::kV6), 5000, 53, data));
    Bytes wrong = frame;
    wrong.back() ^= 1;
    const bool stream = type == SOCK_STREAM;
    Send(card.get(), stream ? Prefixed(wrong) : wrong);
    Send(card.get(), stream ? Prefixed(frame) : frame);
    Bytes got;
    while (got.size() < frame.size() + (stream ? 4 : 0)) {
      const Loop::Handle at_once = loop->Post([] {});
      REQUIRE(loop->RunOnce());
      const Bytes next = Receive(card.get(), 70'000);
      got.insert(got.end(), next.begin(), next.end());
    }
    CHECK((*stack)->stats().dropped(Drop::kChecksum) == 1);
    CHECK(std::string(got.end() - 65'000, got.end()) == data);
  }
}

}  // namespace
}  // namespace sallyport::netstack
