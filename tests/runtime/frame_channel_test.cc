#include "runtime/warden/frame_channel.h"

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <vector>

namespace sallyport::runtime {
namespace {

using guest::Frame;
using guest::FrameType;
using namespace std::chrono_literals;

struct Recorder final : FrameChannel::User {
  void OnFrame(Frame frame) override {
    frames.push_back(std::move(frame));
    if (on_frame) on_frame();
  }
  void OnChannelEnd(Error why) override { end = why.message(); }
  void OnChannelDrained() override { ++drained; }
  std::vector<Frame> frames;
  std::string end;
  int drained = 0;
  std::function<void()> on_frame;
};

struct Pair {
  Pair() {
    loop = *Loop::Create();
    std::array<int, 2> fds;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    a = *FrameChannel::Create(*loop, UniqueFd(fds[0]), "peer a", at_a);
    b = *FrameChannel::Create(*loop, UniqueFd(fds[1]), "peer b", at_b);
  }
  template <class Done>
  void RunUntil(Done done) {
    bool late = false;
    auto deadline = loop->After(10s, [&] { late = true; });
    while (!done() && !late) REQUIRE(*loop->RunOnce());
    REQUIRE_FALSE(late);
  }
  std::unique_ptr<Loop> loop;
  Recorder at_a, at_b;
  std::unique_ptr<FrameChannel> a, b;
};

TEST_CASE("a message larger than a frame arrives whole, in its turn") {
  Pair pair;
  const std::string large(300'000, 'x');
  REQUIRE(pair.a->SendMessage(FrameType::kExec, 1, large));
  pair.a->Send(FrameType::kStdin, 1, "after");
  pair.RunUntil([&] { return pair.at_b.frames.size() == 2; });
  CHECK(pair.at_b.frames[0].payload == large);
  CHECK(pair.at_b.frames[1].payload == "after");
}

TEST_CASE("a paused channel delivers nothing, and all of it when resumed") {
  Pair pair;
  pair.b->Pause();
  for (int i = 0; i < 3; ++i) pair.a->Send(FrameType::kStdin, 1, "piece");
  auto tick = pair.loop->Post([] {});
  REQUIRE(*pair.loop->RunOnce());
  CHECK(pair.at_b.frames.empty());
  pair.b->Resume();
  pair.RunUntil([&] { return pair.at_b.frames.size() == 3; });
}

TEST_CASE("a user may pause in the middle of a batch") {
  Pair pair;
  pair.at_b.on_frame = [&] { pair.b->Pause(); };
  for (int i = 0; i < 3; ++i) pair.a->Send(FrameType::kStdin, 1, "piece");
  pair.RunUntil([&] { return pair.at_b.frames.size() == 1; });
  auto tick = pair.loop->Post([] {});
  REQUIRE(*pair.loop->RunOnce());
  CHECK(pair.at_b.frames.size() == 1);
  pair.at_b.on_frame = nullptr;
  pair.b->Resume();
  pair.RunUntil([&] { return pair.at_b.frames.size() == 3; });
}

TEST_CASE("a user may destroy the channel while it is called") {
  Pair pair;
  pair.at_b.on_frame = [&] { pair.b.reset(); };
  for (int i = 0; i < 3; ++i) pair.a->Send(FrameType::kStdin, 1, "piece");
  pair.RunUntil([&] { return !pair.at_a.end.empty(); });
  CHECK(pair.at_b.frames.size() == 1);
}

TEST_CASE("a channel that is full says so, and says when there is room again") {
  Pair pair;
  pair.b->Pause();
  const std::string piece(60'000, 'x');
  for (int i = 0; i < 100; ++i)
    pair.a->Send(FrameType::kStdin, 1, piece);  // More than any socket takes.
  REQUIRE(pair.a->full());
  auto tick = pair.loop->Post([] {});
  REQUIRE(*pair.loop->RunOnce());
  CHECK(pair.at_a.drained == 0);
  pair.b->Resume();
  pair.RunUntil([&] { return pair.at_a.drained == 1; });
}

TEST_CASE("a channel that was full before it was flushed says when there is room, too") {
  Pair pair;
  while (!pair.a->full()) pair.a->Send(FrameType::kStdin, 1, std::string(60'000, 'x'));
  pair.RunUntil([&] { return pair.at_a.drained == 1; });
}

TEST_CASE("a peer that breaks the protocol ends the channel with a reason") {
  auto loop = *Loop::Create();
  std::array<int, 2> fds;
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  const UniqueFd peer(fds[1]);
  Recorder user;
  const auto channel = *FrameChannel::Create(*loop, UniqueFd(fds[0]), "the peer", user);
  const std::string garbage(64, '\xff');
  REQUIRE(write(peer.get(), garbage.data(), garbage.size()) == 64);
  while (user.end.empty()) REQUIRE(*loop->RunOnce());
  CHECK(user.end.find("the peer") != std::string::npos);
  CHECK(user.frames.empty());
}

}  // namespace
}  // namespace sallyport::runtime
