#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "base/block_pool.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

using Clock = std::chrono::steady_clock;

/// Where a Loop takes the time from, if not from Clock: tests move it by hand.
class TimeSource {
 public:
  virtual ~TimeSource() = default;
  /// Never goes back.
  virtual Clock::time_point Now() const = 0;
};

/// The one event loop of a process: descriptors, timers and work put off, on
/// one thread. Callbacks never run inside the call that registered them, and
/// never run again once their handle is destroyed, even for events already
/// collected. A callback may destroy its own handle.
///
/// A turn is: what is to come before a wait, the wait, the callbacks of the ready
/// descriptors, due timers, posted work, and then the turn-end callbacks, which push
/// out what the turn produced.
class Loop {
 public:
  /// Keeps one registration alive; destroying it ends the registration.
  /// Must be destroyed before its Loop.
  class [[nodiscard]] Handle {
   public:
    Handle() = default;
    Handle(Handle&& other) noexcept;
    Handle& operator=(Handle&& other) noexcept;
    ~Handle();

    /// Whether this handle stands for a registration (a timer that has run still counts).
    explicit operator bool() const { return registration_ != nullptr; }

   private:
    friend class Loop;
    struct Registration;
    Handle(Loop* loop, Registration* registration) : loop_(loop), registration_(registration) {}

    Loop* loop_ = nullptr;
    Registration* registration_ = nullptr;
  };

  /// With a TIME, which outlives the loop, timers follow that instead of Clock. Nothing tells the
  /// loop that it moved, so a turn then waits for descriptors for a millisecond at most.
  static Result<std::unique_ptr<Loop>> Create(const TimeSource* time = nullptr);
  ~Loop();

  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Calls ON_READY with the ready subset of EVENTS (EPOLLIN, EPOLLOUT,
  /// EPOLLRDHUP; EPOLLET makes it edge-triggered) each time FD is ready.
  /// EPOLLERR and EPOLLHUP are always reported. FD stays the caller's and must
  /// outlive the handle.
  Result<Handle> Watch(int fd, uint32_t events, std::function<void(uint32_t)> on_ready);

  /// Calls ON_TIME once, DELAY from now.
  Handle After(Clock::duration delay, std::function<void()> on_time);

  /// Calls WORK once, later in this turn (or in the next, when called from a turn-end callback).
  Handle Post(std::function<void()> work);

  /// Calls ON_END at the end of every turn, in the order of registration.
  Handle AtTurnEnd(std::function<void()> on_end);

  /// Calls WORK before every wait: when a turn, with its end, is over, and after whatever was done
  /// outside of turns. So nothing that WORK is to do waits for an event. WORK registers nothing.
  Handle BeforeWait(std::function<void()> work);

  /// The time at which this turn began; cheap. Before the first turn, the time of creation.
  Clock::time_point now() const { return now_; }
  /// The time at this moment.
  Clock::time_point Time() const { return time_ == nullptr ? Clock::now() : time_->Now(); }

  /// Blocks for whoever is driven by this loop.
  BlockPool& blocks() { return blocks_; }

  /// Runs one turn. False when no descriptor, timer or posted work is left to wait for.
  Result<bool> RunOnce();

 private:
  using Registration = Handle::Registration;

  Loop(UniqueFd epoll, UniqueFd alarm, const TimeSource* time);
  Result<int> MillisecondsToWait();
  Status SetAlarm(Clock::time_point at);
  void RunDueTimers();
  void RunPosted();
  static void RunAll(const std::list<Registration*>& registrations);
  void Remove(Registration* registration);
  void Bury();

  BlockPool blocks_;
  UniqueFd epoll_;
  /// A timerfd that rings for the first timer. It stays set while turns come and go; for a time-out
  /// of each wait the kernel would set the CPU's timer twice a turn.
  UniqueFd alarm_;
  Clock::time_point alarm_at_ = Clock::time_point::max();  // Not after the first timer, or not set.
  const TimeSource* const time_;
  Clock::time_point now_;
  size_t watched_ = 0;
  std::multimap<Clock::time_point, Registration*> timers_;
  std::vector<Registration*> posted_;
  std::list<Registration*> turn_end_;
  std::list<Registration*> before_wait_;
  std::vector<Registration*> dead_;  // Freed between turns, so that a collected event never dangles.
};

}  // namespace sallyport
