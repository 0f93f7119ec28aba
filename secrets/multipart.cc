#include "secrets/multipart.h"

#include <algorithm>

namespace sallyport::secrets {
namespace {

constexpr size_t kClosingDashes = 2;

/// Takes SIZE bytes off the beginning of INPUT.
std::string_view Take(std::string_view& input, size_t size) {
  const std::string_view taken = input.substr(0, size);
  input.remove_prefix(taken.size());
  return taken;
}

/// Up to and with the first line's end, or all.
std::string_view TakeLine(std::string_view& input) {
  const size_t end = input.find('\n');
  return Take(input, end == std::string_view::npos ? end : end + 1);
}

}  // namespace

MultipartReader::Stretch MultipartReader::Next(std::string_view& input) {
  if (line_start_) return TakeLineStart(input);
  if (state_ == State::kBoundaryLine) return TakeBoundaryLine(input);
  if (state_ == State::kFields) return TakeFields(input);
  return TakeText(input);
}

MultipartReader::Stretch MultipartReader::Finish() {
  const std::string_view kept = std::string_view(delimiter_).substr(0, matched_);
  matched_ = 0;
  return {section(), kept};
}

MultipartReader::Stretch MultipartReader::TakeLineStart(std::string_view& input) {
  const std::string_view wanted = std::string_view(delimiter_).substr(matched_);
  const auto there = std::mismatch(wanted.begin(), wanted.end(), input.begin(), input.end());
  const auto same = static_cast<size_t>(there.first - wanted.begin());
  if (same == wanted.size()) {
    input.remove_prefix(same);
    state_ = State::kBoundaryLine;
    line_start_ = dashes_over_ = false;
    matched_ = dashes_ = 0;
    return {Section::kElsewhere, delimiter_};
  }
  if (same == input.size()) {
    matched_ += same;
    input = {};
    return {section(), {}};
  }
  line_start_ = false;
  if (matched_ != 0) line_empty_ = false;
  return Finish();
}

MultipartReader::Stretch MultipartReader::TakeBoundaryLine(std::string_view& input) {
  const std::string_view line = TakeLine(input);
  for (const char c : line.substr(0, kClosingDashes)) {
    dashes_over_ = dashes_over_ || c != '-' || dashes_ == kClosingDashes;
    if (!dashes_over_) ++dashes_;
  }
  if (line.back() == '\n') {
    const bool closes = dashes_ == kClosingDashes;
    state_ = closes ? State::kEpilogue : State::kFields;
    line_start_ = !closes;
    line_empty_ = true;
  }
  return {Section::kElsewhere, line};
}

MultipartReader::Stretch MultipartReader::TakeFields(std::string_view& input) {
  const std::string_view line = TakeLine(input);
  if (line.find_first_not_of("\r\n") != std::string_view::npos) line_empty_ = false;
  if (line.back() == '\n') {
    if (line_empty_) state_ = State::kPart;
    line_start_ = line_empty_ = true;
  }
  return {Section::kElsewhere, line};
}

/// Bytes up to a line that may be a boundary line.
MultipartReader::Stretch MultipartReader::TakeText(std::string_view& input) {
  if (state_ == State::kEpilogue) return {section(), Take(input, input.size())};
  size_t end = input.find('\n');
  while (end != std::string_view::npos && end + 1 < input.size() && input[end + 1] != '-') {
    end = input.find('\n', end + 1);
  }
  if (end == std::string_view::npos) return {section(), Take(input, input.size())};
  line_start_ = true;
  return {section(), Take(input, end + 1)};
}

}  // namespace sallyport::secrets
