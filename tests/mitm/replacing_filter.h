#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/byte_filter.h"

namespace sallyport {

/// Replaces one text by another in a stream; holds back what may become it.
class ReplacingFilter final : public ByteFilter {
 public:
  ReplacingFilter(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}

  Status Feed(std::string_view input, std::string& out) override {
    held_ += input;
    size_t at = 0;
    for (size_t hit = held_.find(from_); hit != std::string::npos; hit = held_.find(from_, at)) {
      out.append(held_, at, hit - at).append(to_);
      at = hit + from_.size();
    }
    const size_t keep = Begun(std::string_view(held_).substr(at));
    out.append(held_, at, held_.size() - keep - at);
    held_.erase(0, held_.size() - keep);
    return {};
  }
  std::optional<size_t> Pass(std::string_view input) override {
    if (!held_.empty() || input.find(from_) != input.npos) return std::nullopt;
    const size_t settled = input.size() - Begun(input);
    held_ = input.substr(settled);
    return settled;
  }
  Status Finish(std::string& out) override {
    out += std::exchange(held_, {});
    return {};
  }

 private:
  // How much of TEXT's end it may begin with.
  size_t Begun(std::string_view text) const {
    size_t size = std::min(from_.size() - 1, text.size());
    while (!from_.starts_with(text.substr(text.size() - size))) --size;
    return size;
  }

  const std::string from_;
  const std::string to_;
  std::string held_;
};

}  // namespace sallyport
