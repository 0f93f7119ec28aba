#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sallyport::policy {

/// A list of rule numbers. The first few are in the list itself: most flows have one rule or two,
/// and each decision makes one of these.
class RuleNumbers {
 public:
  void Add(uint32_t number) {
    if (more_.empty() && count_ < near_.size()) {
      near_[count_++] = number;
      return;
    }
    if (more_.empty()) more_.assign(near_.begin(), near_.end());
    more_.push_back(number);
  }

  bool empty() const { return count_ == 0; }
  size_t size() const { return more_.empty() ? count_ : more_.size(); }
  std::span<const uint32_t> all() const {
    if (more_.empty()) return {near_.data(), count_};
    return more_;
  }

 private:
  std::array<uint32_t, 3> near_;
  uint32_t count_ = 0;          // Of those in near_.
  std::vector<uint32_t> more_;  // All of them, once they are more.
};

}  // namespace sallyport::policy
