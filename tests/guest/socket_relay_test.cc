#include "guest/relay/socket_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <optional>
#include <vector>

#include "base/loop.h"

namespace sallyport::guest {
namespace {

using namespace std::chrono_literals;

/// Two connected TCP sockets on the loopback.
std::pair<UniqueFd, UniqueFd> Connection() {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  auto* address = reinterpret_cast<sockaddr*>(&name);
  REQUIRE(bind(listener.get(), address, size) == 0);
  REQUIRE(listen(listener.get(), 1) == 0);
  REQUIRE(getsockname(listener.get(), address, &size) == 0);
  UniqueFd one(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  REQUIRE((connect(one.get(), address, size) == 0 || errno == EINPROGRESS));
  UniqueFd other(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  REQUIRE(other.valid());
  return {std::move(one), std::move(other)};
}

/// A relay, the socket's peer, and the other end of the frames.
struct Fixture final : SocketRelay::Frames {
  Fixture() {
    auto [ours, theirs] = Connection();
    peer = std::move(theirs);
    relay = *SocketRelay::Start(*loop, std::move(ours), *this);
  }

  void Send(FrameType type, std::string_view payload, uint8_t flags, uint32_t credit) override {
    frames.push_back({.type = type,
                      .stream = 1,
                      .flags = flags,
                      .credit = credit,
                      .payload = std::string(payload)});
    if (type == FrameType::kData) data.append(payload);
    granted += credit;
    ended = ended || (flags & kFlagEnd) != 0;
  }
  bool crowded() const override { return is_crowded; }
  void OnRelayEnd(SocketRelay::End how) override {
    CHECK_FALSE(end);
    end = how;
  }

  Status Give(std::string payload, uint8_t flags = 0) {
    return relay->OnFrame(
        {.type = FrameType::kData, .stream = 1, .flags = flags, .payload = std::move(payload)});
  }
  Status Grant(uint32_t bytes) {
    return relay->OnFrame({.type = FrameType::kCredit, .stream = 1, .credit = bytes});
  }

  template <class Done>
  void Until(Done done) {
    bool late = false;
    const auto deadline = loop->After(20s, [&late] { late = true; });
    while (!done() && !late) REQUIRE(*loop->RunOnce());
    REQUIRE_FALSE(late);
  }
  /// Everything that is there is handled.
  void Settle() {
    for (int i = 0; i < 8; ++i) {
      const auto tick = loop->Post([] {});  // So that a turn does not wait.
      REQUIRE(loop->RunOnce());
    }
  }

  /// What the peer got until now; "" at its end, nothing where there is nothing yet.
  std::optional<std::string> PeerReads() {
    std::string bytes(1 << 20, '\0');
    const ssize_t got = recv(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return std::nullopt;
    if (got < 0) return "failed";
    bytes.resize(static_cast<size_t>(got));
    return bytes;
  }
  void PeerWrites(std::string_view bytes) {
    REQUIRE(send(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }

  std::unique_ptr<Loop> loop = std::move(*Loop::Create());
  UniqueFd peer;
  std::vector<Frame> frames;
  std::string data;
  uint64_t granted = 0;
  bool ended = false;
  bool is_crowded = false;
  std::optional<SocketRelay::End> end;
  std::unique_ptr<SocketRelay> relay;
};

TEST_CASE("bytes go both ways, each direction ends alone, and then the relay is finished") {
  Fixture f;
  REQUIRE(f.Give("down", kFlagEnd));
  f.PeerWrites("up");
  f.Until([&] { return f.data == "up"; });
  CHECK(f.PeerReads() == "down");
  CHECK(f.PeerReads() == "");
  CHECK_FALSE(f.end);
  f.PeerWrites(" and more");
  shutdown(f.peer.get(), SHUT_WR);
  f.Until([&] { return f.end.has_value(); });
  CHECK(f.end == SocketRelay::End::kFinished);
  CHECK(f.data == "up and more");
  CHECK(f.ended);
  CHECK(f.relay->bytes_from_socket() == 11);
  CHECK(f.relay->bytes_to_socket() == 4);
}

TEST_CASE("no more is read than there is credit for, and the rest when there is more") {
  Fixture f;
  const std::string half(200'000, 'x');
  f.PeerWrites(half);
  f.Until([&] { return f.data.size() == half.size(); });
  f.PeerWrites(half);
  f.Until([&] { return f.data.size() == kInitialCredit; });
  f.Settle();
  CHECK(f.data.size() == kInitialCredit);
  REQUIRE(f.Grant(1000));
  CHECK(f.data.size() == kInitialCredit + 1000);
  REQUIRE(f.Grant(SendCredit::kMax - 1));
  CHECK(f.data.size() == 2 * half.size());
}

TEST_CASE("nothing is read while the frames are crowded") {
  Fixture f;
  f.is_crowded = true;
  f.PeerWrites("waits");
  f.Settle();
  CHECK(f.data.empty());
  f.is_crowded = false;
  f.relay->Resume();
  CHECK(f.data == "waits");
}

TEST_CASE("bytes for a peer that takes none are kept, granted again when taken, and more refused") {
  Fixture f;
  f.Settle();
  uint64_t given = 0;
  // Until the kernel's buffers are full, and the credit behind them.
  while (given < kInitialCredit + f.granted) {
    const size_t size = std::min<size_t>(kMaxPayload, kInitialCredit + f.granted - given);
    REQUIRE(f.Give(std::string(size, 'y')));
    given += size;
    f.Settle();
    REQUIRE(given < (64u << 20));
  }
  const Status over = f.Give("z");
  REQUIRE_FALSE(over);
  CHECK(over.error().code() == Code::kInvalid);
  size_t taken = 0;
  const auto wakes = f.loop->Watch(f.peer.get(), EPOLLIN, [](uint32_t) {});
  REQUIRE(wakes);
  f.Until([&] {
    if (const auto bytes = f.PeerReads()) taken += bytes->size();
    return taken == given;
  });
}

TEST_CASE("a reset of the socket is told, and one that is told resets the socket") {
  Fixture f;
  ResetSocket(std::move(f.peer));
  f.Until([&] { return f.end.has_value(); });
  CHECK(f.end == SocketRelay::End::kReset);
  CHECK(f.frames.back().type == FrameType::kError);

  Fixture g;
  REQUIRE(g.relay->OnFrame({.type = FrameType::kError, .stream = 1}));
  CHECK(g.end == SocketRelay::End::kResetByPeer);
  g.Settle();
  CHECK(g.PeerReads() == "failed");
  CHECK(g.frames.empty());
}

TEST_CASE("a peer that takes nothing more is read to its end, and then both are reset") {
  Fixture f;
  f.PeerWrites("413 too large");
  f.peer.reset();  // With nothing unread: a FIN, and a reset for what comes.
  f.Until([&] { return f.ended; });
  CHECK(f.data == "413 too large");
  REQUIRE(f.Give("more"));
  f.Settle();
  if (!f.end) REQUIRE(f.Give("and more"));
  f.Until([&] { return f.end.has_value(); });
  CHECK(f.end == SocketRelay::End::kReset);
}

TEST_CASE("destroyed at any time, it resets its socket and calls nobody") {
  for (int step = 0; step < 3; ++step) {
    Fixture f;
    if (step > 0) f.PeerWrites("x");
    if (step > 1) f.Until([&] { return !f.data.empty(); });
    f.relay.reset();
    f.Settle();
    CHECK_FALSE(f.end);
    CHECK(f.PeerReads() == "failed");
  }
}

TEST_CASE("frames that have no place on the stream are refused") {
  Fixture f;
  CHECK_FALSE(f.relay->OnFrame({.type = FrameType::kStdin, .stream = 1}));
  CHECK_FALSE(f.relay->OnFrame({.type = FrameType::kStarted, .stream = 1}));
  CHECK_FALSE(f.Grant(SendCredit::kMax));
  REQUIRE(f.Give("", kFlagEnd));
  CHECK_FALSE(f.Give("behind the end"));
}

}  // namespace
}  // namespace sallyport::guest
