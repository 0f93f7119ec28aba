#include "secrets/substituter.h"

#include <algorithm>
#include <utility>

namespace sallyport::secrets {
namespace {

using Match = PlaceholderIndex::Match;

/// Strings of less live inside the std::string object, and each move would leave a copy behind.
constexpr size_t kAlwaysOnHeap = 32;

std::optional<std::string_view> ValueOf(const Values& values, size_t id) {
  return id < values.size() ? values[id] : std::nullopt;
}

size_t RenderedSize(std::string_view text, const std::vector<Match>& matches,
                    const Values& values) {
  size_t size = text.size();
  for (const Match& match : matches) {
    if (const auto value = ValueOf(values, match.id)) size = size - match.size + value->size();
  }
  return size;
}

std::string Render(std::string_view text, const std::vector<Match>& matches, const Values& values) {
  std::string out;
  out.reserve(std::max(RenderedSize(text, matches, values), kAlwaysOnHeap));
  size_t done = 0;
  for (const Match& match : matches) {
    const auto value = ValueOf(values, match.id);
    if (!value) continue;
    out += text.substr(done, match.at - done);
    out += *value;
    done = match.at + match.size;
  }
  out += text.substr(done);
  return out;
}

}  // namespace

std::string Substitute(const PlaceholderIndex& index, const Values& values, std::string_view text) {
  return Render(text, index.FindAll(text), values);
}

std::string Substituter::Feed(std::string_view input) {
  std::string_view text = input;
  if (!held_.empty()) {
    held_ += input;
    text = held_;
  }
  const PlaceholderIndex::Scan scan = index_.ScanStream(text);
  std::string out = Render(text.substr(0, scan.settled), scan.matches, values_);
  if (held_.empty()) {
    held_ = text.substr(scan.settled);
  } else {
    held_.erase(0, scan.settled);
  }
  return out;
}

std::string Substituter::Finish() {
  return std::exchange(held_, {});
}

}  // namespace sallyport::secrets
