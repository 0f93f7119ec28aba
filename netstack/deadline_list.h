#pragma once

#include <chrono>
#include <functional>
#include <iterator>
#include <list>
#include <utility>

#include "base/loop.h"

namespace sallyport::netstack {

/// Things of one kind that each end after the same time of inactivity. Refreshing one is O(1) and
/// sets no timer: the list is in order of deadlines, and one timer serves its head.
template <class Item>
class DeadlineList {
  struct Entry;

 public:
  /// An item's place; ends with it.
  class Place {
   public:
    Place() = default;
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { Leave(); }

    void Leave() {
      if (list_ == nullptr) return;
      list_->items_.erase(at_);
      list_ = nullptr;
    }
    /// Starts the item's time anew.
    void Refresh() {
      if (list_ == nullptr) return;
      at_->deadline = list_->loop_.now() + list_->time_;
      list_->items_.splice(list_->items_.end(), list_->items_, at_);
    }

   private:
    friend class DeadlineList;
    DeadlineList* list_ = nullptr;
    typename std::list<Entry>::iterator at_;
  };

  /// ON_TIME is called with each item whose time is over, after it has left the list.
  DeadlineList(Loop& loop, Clock::duration time, std::function<void(Item&)> on_time)
      : loop_(loop), time_(time), on_time_(std::move(on_time)) {}
  DeadlineList(const DeadlineList&) = delete;
  DeadlineList& operator=(const DeadlineList&) = delete;

  /// Puts ITEM, whose place in any list is PLACE, at the end of this one.
  void Enter(Item& item, Place& place) {
    place.Leave();
    items_.push_back({&item, &place, loop_.now() + time_});
    place.list_ = this;
    place.at_ = std::prev(items_.end());
    if (!timer_set_) SetTimer();
  }

  /// The item that has been inactive longest, if any.
  Item* oldest() const { return items_.empty() ? nullptr : items_.front().item; }

 private:
  struct Entry {
    Item* item;
    Place* place;
    Clock::time_point deadline;
  };

  void SetTimer() {
    timer_set_ = true;
    timer_ = loop_.After(items_.front().deadline - loop_.now(), [this] { OnTimer(); });
  }

  // The item for which the timer was set may have left meanwhile: then this only looks again.
  void OnTimer() {
    timer_set_ = false;
    while (!items_.empty() && items_.front().deadline <= loop_.now()) {
      Item& item = *items_.front().item;
      items_.front().place->Leave();
      on_time_(item);
    }
    if (!items_.empty() && !timer_set_) SetTimer();
  }

  Loop& loop_;
  const Clock::duration time_;
  const std::function<void(Item&)> on_time_;
  std::list<Entry> items_;
  bool timer_set_ = false;
  Loop::Handle timer_;
};

}  // namespace sallyport::netstack
