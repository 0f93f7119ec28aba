#pragma once

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
    size_t keep = std::min(from_.size() - 1, held_.size() - at);
    while (!from_.starts_with(std::string_view(held_).substr(held_.size() - keep))) --keep;
    out.append(held_, at, held_.size() - keep - at);
    held_.erase(0, held_.size() - keep);
    return {};
  }
  Status Finish(std::string& out) override {
    out += std::exchange(held_, {});
    return {};
  }

 private:
  const std::string from_;
  const std::string to_;
  std::string held_;
};

}  // namespace sallyport
