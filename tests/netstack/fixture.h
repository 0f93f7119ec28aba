#pragma once

// A stack on an in-memory link, a decider that tests answer for, and hosts on loopback.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "guest.h"
#include "netstack/stack.h"
#include "tests/fakes/manual_clock.h"

namespace sallyport::netstack {

/// Answers from the loop, with what `answer` says; when that says nothing, a test answers later.
class FakeDecider final : public FlowDecider {
 public:
  explicit FakeDecider(Loop& loop) : loop_(loop) {}

  Pending Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) override;
  void OnFlowEnd(const FlowInfo& flow, const FlowStats& stats) override {
    ended.emplace_back(flow, stats);
  }
  void OnFlowRefused(const FlowInfo& flow, Drop why) override {
    refused.emplace_back(flow, why);
    if (on_refused) on_refused(flow, why);
  }

  /// Gives the verdict on flow ID, which is waiting.
  void Answer(uint64_t id, FlowVerdict verdict);
  bool waiting(uint64_t id) const;

  std::function<std::optional<FlowVerdict>(const FlowInfo&)> answer;
  std::vector<FlowInfo> asked;
  std::vector<std::pair<FlowInfo, FlowStats>> ended;
  std::vector<std::pair<FlowInfo, Drop>> refused;
  std::function<void(const FlowInfo&, Drop)> on_refused;
  int cancelled = 0;

 private:
  struct Waiting {
    std::function<void(FlowVerdict)> done;
    Loop::Handle posted;
  };
  Loop& loop_;
  std::map<uint64_t, std::shared_ptr<Waiting>> waiting_;
};

/// One connected TCP (or UDP) socket over loopback, seen from both ends.
struct SocketPair {
  UniqueFd ours;    ///< For the stack.
  UniqueFd theirs;  ///< The host's.
};
SocketPair TcpPair();
SocketPair UdpPair();
/// Reads what is there without waiting: nothing when there is nothing, "" at the end.
std::optional<std::string> ReadSome(int socket);

class Fixture {
 public:
  /// Makes the link that the stack gets of the one in memory.
  using Wrap = std::function<std::unique_ptr<Link>(Loop&, std::unique_ptr<Link>)>;

  /// TIME, if given, outlives it; nothing waits by itself then: see Pass().
  explicit Fixture(const StackOptions& options = TestOptions(), const TimeSource* time = nullptr,
                   const Wrap& wrap = nullptr);
  ~Fixture();

  /// Runs one turn without waiting for anything, and hands what came out to guests and `seen`.
  void Turn();
  /// Runs turns until DONE; false when that takes too long.
  bool RunUntil(const std::function<bool()>& done);
  /// Runs turns until nothing comes out any more.
  void Settle();
  /// Lets TIME go by on CLOCK, which is its own, as finely as the stack's timers tick.
  void Pass(ManualClock& clock, Clock::duration time);
  /// Opens a connection, which must succeed.
  std::unique_ptr<GuestTcp> Connect(Ip ip, uint16_t source_port = 40000, uint16_t port = 80,
                                    uint32_t sequence = 1000);
  std::unique_ptr<GuestTcp> NewGuest(Ip ip, uint16_t source_port = 40000, uint16_t port = 80,
                                     uint32_t sequence = 1000);
  void Forget(GuestTcp& guest);

  std::unique_ptr<Loop> loop;
  FakeDecider decider;
  MemoryLink* link = nullptr;  ///< The stack's.
  std::unique_ptr<Stack> stack;
  std::vector<GuestTcp*> guests;  ///< Who answers by itself.
  std::vector<Seen> seen;         ///< What no guest took.

 private:
  size_t Deliver();
};

/// Writes back what it reads, with back pressure, until the end; then finishes.
class Echo final : public Stream::Listener {
 public:
  explicit Echo(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->SetListener(this);
  }
  void OnStreamReady() override;
  bool broken = false;
  bool ended = false;

 private:
  std::unique_ptr<Stream> stream_;
  std::string held_;
};

}  // namespace sallyport::netstack
