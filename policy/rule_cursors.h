#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sallyport::policy {

/// Merges ascending lists of rule numbers as it goes, without allocating: what an index found for
/// one host or address, each rule once, in the order of the file.
template <size_t kMaxLists>
class RuleCursors {
 public:
  /// LIST stays where it is while the cursors are used. Callers know a bound on how many they add.
  void Add(const std::vector<uint32_t>& list) { Add(list.data(), list.data() + list.size()); }
  void Add(const uint32_t* begin, const uint32_t* end) {
    if (begin == end || count_ == kMaxLists) return;
    at_[count_] = begin;
    end_[count_] = end;
    ++count_;
  }

  /// The next rule; nothing after the last.
  std::optional<uint32_t> Next() {
    std::optional<uint32_t> least;
    for (size_t i = 0; i < count_; ++i) {
      if (!least || *at_[i] < *least) least = *at_[i];
    }
    if (!least) return least;
    for (size_t i = 0; i < count_;) {
      if (*at_[i] != *least || ++at_[i] != end_[i]) {
        ++i;
        continue;
      }
      --count_;  // This list is over: the last takes its place.
      at_[i] = at_[count_];
      end_[i] = end_[count_];
    }
    return least;
  }

 private:
  std::array<const uint32_t*, kMaxLists> at_;
  std::array<const uint32_t*, kMaxLists> end_;
  size_t count_ = 0;
};

}  // namespace sallyport::policy
