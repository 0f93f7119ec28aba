#pragma once

#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace sallyport::mitm {

/// At most CAPACITY values by name; the one that was not used for longest goes first.
template <class T>
class LruCache {
 public:
  explicit LruCache(size_t capacity) : capacity_(capacity) {}

  /// Good until the next Put() or Remove(); null when there is none.
  T* Find(std::string_view key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->second;
  }

  T& Put(std::string_view key, T value) {
    Remove(key);
    if (entries_.size() >= capacity_) Remove(entries_.back().first);
    entries_.emplace_front(std::string(key), std::move(value));
    index_.emplace(entries_.front().first, entries_.begin());
    return entries_.front().second;
  }

  void Remove(std::string_view key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    const auto entry = found->second;
    index_.erase(found);  // First: its key points into the entry.
    entries_.erase(entry);
  }

  size_t size() const { return entries_.size(); }

 private:
  using Entries = std::list<std::pair<std::string, T>>;
  const size_t capacity_;
  Entries entries_;  // The latest used first.
  std::unordered_map<std::string_view, typename Entries::iterator> index_;
};

}  // namespace sallyport::mitm
