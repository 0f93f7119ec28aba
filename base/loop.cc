#include "base/loop.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace sallyport {

enum class Kind { kDescriptor, kTimer, kPosted, kTurnEnd, kBeforeWait };

/// One registration. Its address is what epoll carries, so it lives until the turn in which it
/// was ended is over.
struct Loop::Handle::Registration {
  explicit Registration(Kind which) : kind(which) {}

  const Kind kind;
  bool dead = false;
  bool queued = false;  // A timer not yet run, or posted work not yet run.
  int fd = -1;
  std::function<void(uint32_t)> on_ready;
  std::function<void()> run;
  std::multimap<Clock::time_point, Registration*>::iterator timer;
  std::list<Registration*>::iterator place;  // In turn_end_ or before_wait_.
};

Loop::Handle::Handle(Handle&& other) noexcept
    : loop_(other.loop_), registration_(std::exchange(other.registration_, nullptr)) {}

Loop::Handle& Loop::Handle::operator=(Handle&& other) noexcept {
  Handle old(std::move(*this));
  loop_ = other.loop_;
  registration_ = std::exchange(other.registration_, nullptr);
  return *this;
}

Loop::Handle::~Handle() {
  if (registration_ != nullptr) loop_->Remove(registration_);
}

Loop::Loop(UniqueFd epoll, UniqueFd alarm, const TimeSource* time)
    : epoll_(std::move(epoll)), alarm_(std::move(alarm)), time_(time), now_(Time()) {}

Loop::~Loop() {
  Bury();
}

Result<std::unique_ptr<Loop>> Loop::Create(const TimeSource* time) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return tl::unexpected(Error::FromErrno("epoll_create1"));
  UniqueFd alarm(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!alarm.valid()) return tl::unexpected(Error::FromErrno("timerfd_create"));
  // Edge-triggered: a new time set is a new edge, and nobody has to read it.
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, alarm.get(), &event) != 0) {
    return tl::unexpected(Error::FromErrno("epoll_ctl"));
  }
  return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(alarm), time));
}

Result<Loop::Handle> Loop::Watch(int fd, uint32_t events, std::function<void(uint32_t)> on_ready) {
  auto registration = std::make_unique<Registration>(Kind::kDescriptor);
  registration->fd = fd;
  registration->on_ready = std::move(on_ready);
  epoll_event event{.events = events, .data = {.ptr = registration.get()}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return tl::unexpected(Error::FromErrno("epoll_ctl"));
  }
  ++watched_;
  return Handle(this, registration.release());
}

Loop::Handle Loop::After(Clock::duration delay, std::function<void()> on_time) {
  auto* registration = new Registration(Kind::kTimer);
  registration->run = std::move(on_time);
  registration->queued = true;
  registration->timer = timers_.emplace(Time() + delay, registration);
  return Handle(this, registration);
}

Loop::Handle Loop::Post(std::function<void()> work) {
  auto* registration = new Registration(Kind::kPosted);
  registration->run = std::move(work);
  registration->queued = true;
  posted_.push_back(registration);
  return Handle(this, registration);
}

Loop::Handle Loop::AtTurnEnd(std::function<void()> on_end) {
  auto* registration = new Registration(Kind::kTurnEnd);
  registration->run = std::move(on_end);
  registration->place = turn_end_.insert(turn_end_.end(), registration);
  return Handle(this, registration);
}

Loop::Handle Loop::BeforeWait(std::function<void()> work) {
  auto* registration = new Registration(Kind::kBeforeWait);
  registration->run = std::move(work);
  registration->place = before_wait_.insert(before_wait_.end(), registration);
  return Handle(this, registration);
}

Result<bool> Loop::RunOnce() {
  RunAll(before_wait_);
  if (watched_ == 0 && timers_.empty() && posted_.empty()) return false;

  std::array<epoll_event, 128> ready;
  const auto wait = MillisecondsToWait();
  if (!wait) return tl::unexpected(wait.error());
  const int count = epoll_wait(epoll_.get(), ready.data(), ready.size(), *wait);
  if (count < 0 && errno != EINTR) return tl::unexpected(Error::FromErrno("epoll_wait"));
  now_ = Time();

  const auto collected = std::span(ready).first(static_cast<size_t>(std::max(count, 0)));
  for (const epoll_event& event : collected) {
    auto* registration = static_cast<Registration*>(event.data.ptr);
    if (registration == nullptr) {
      alarm_at_ = Clock::time_point::max();
    } else if (!registration->dead) {
      registration->on_ready(event.events);
    }
  }
  RunDueTimers();
  RunPosted();
  RunAll(turn_end_);
  Bury();
  return true;
}

void Loop::RunAll(const std::list<Registration*>& registrations) {
  for (auto next = registrations.begin(); next != registrations.end();) {
    Registration* registration = *next++;  // Dead ones leave the list in Bury().
    if (!registration->dead) registration->run();
  }
}

Result<int> Loop::MillisecondsToWait() {
  if (!posted_.empty()) return 0;
  if (time_ != nullptr) return 1;
  if (timers_.empty()) return -1;
  const Clock::time_point first = timers_.begin()->first;
  if (first <= now_) return 0;
  if (first < alarm_at_) {
    if (auto set = SetAlarm(first); !set) return tl::unexpected(std::move(set).error());
  }
  return -1;
}

Status Loop::SetAlarm(Clock::time_point at) {
  const auto since_boot = at.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
  const itimerspec when{
      .it_interval = {},
      .it_value = {.tv_sec = seconds.count(), .tv_nsec = (since_boot - seconds).count()}};
  if (timerfd_settime(alarm_.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0) {
    return tl::unexpected(Error::FromErrno("timerfd_settime"));
  }
  alarm_at_ = at;
  return {};
}

void Loop::RunDueTimers() {
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    Registration* registration = timers_.begin()->second;
    timers_.erase(timers_.begin());
    registration->queued = false;
    registration->run();
  }
}

void Loop::RunPosted() {
  // One round: work that posts again waits for the next turn, so that descriptors get theirs.
  for (Registration* registration : std::exchange(posted_, {})) {
    if (registration->dead) continue;
    registration->queued = false;
    registration->run();
  }
}

void Loop::Remove(Registration* registration) {
  registration->dead = true;
  switch (registration->kind) {
    case Kind::kDescriptor:
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, registration->fd, nullptr);
      --watched_;
      break;
    case Kind::kTimer:
      if (registration->queued) timers_.erase(registration->timer);
      break;
    case Kind::kPosted:
      // A round under way holds its own list and sees that this one is dead.
      if (registration->queued) std::erase(posted_, registration);
      break;
    case Kind::kTurnEnd:
    case Kind::kBeforeWait:
      break;
  }
  dead_.push_back(registration);
}

void Loop::Bury() {
  // Freeing a callback may free the owner of further handles, which adds to dead_.
  while (!dead_.empty()) {
    Registration* registration = dead_.back();
    dead_.pop_back();
    if (registration->kind == Kind::kTurnEnd) turn_end_.erase(registration->place);
    if (registration->kind == Kind::kBeforeWait) before_wait_.erase(registration->place);
    delete registration;
  }
}

}  // namespace sallyport
