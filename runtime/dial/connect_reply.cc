#include "runtime/dial/connect_reply.h"

#include <algorithm>

namespace sallyport::runtime {

namespace {

constexpr size_t kMaxSchemes = 80;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

bool IsTokenCharacter(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kMarks.find(c) != kMarks.npos;
}

bool IsText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
}

std::string_view TokenAt(std::string_view text) {
  return text.substr(
      0, static_cast<size_t>(std::find_if_not(text.begin(), text.end(), IsTokenCharacter) -
                             text.begin()));
}

bool IsProxyAuthenticate(std::string_view name) {
  constexpr std::string_view kName = "proxy-authenticate";
  return std::equal(name.begin(), name.end(), kName.begin(), kName.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

}  // namespace

size_t ConnectReply::Feed(std::string_view bytes) {
  size_t taken = 0;
  while (state_ == State::kMore && taken < bytes.size()) {
    const char c = bytes[taken++];
    if (++size_ > kMaxHead) {
      state_ = State::kBroken;
    } else if (c != '\n') {
      line_.push_back(c);
    } else {
      state_ = TakeLine();
      line_.clear();
    }
  }
  return taken;
}

ConnectReply::State ConnectReply::TakeLine() {
  if (!line_.ends_with('\r')) return State::kBroken;
  line_.pop_back();
  if (!IsText(line_)) return State::kBroken;
  if (status_ == 0) return TakeStatus() ? State::kMore : State::kBroken;
  if (!line_.empty()) return TakeField() ? State::kMore : State::kBroken;
  if (status_ >= 200 || status_ == 101) return State::kHead;
  status_ = 0;  // An interim answer: the next one follows.
  schemes_.clear();
  return State::kMore;
}

/// "HTTP/1.1 200 Connection established", with or without the phrase.
bool ConnectReply::TakeStatus() {
  const std::string_view line = line_;
  if (!line.starts_with("HTTP/1.0 ") && !line.starts_with("HTTP/1.1 ")) return false;
  const std::string_view rest = line.substr(9);
  if (rest.size() < 3 || !std::all_of(rest.begin(), rest.begin() + 3, IsDigit)) return false;
  if (rest.size() > 3 && rest[3] != ' ') return false;
  status_ = (rest[0] - '0') * 100 + (rest[1] - '0') * 10 + (rest[2] - '0');
  return status_ >= 100 && status_ < 600;
}

bool ConnectReply::TakeField() {
  const std::string_view line = line_;
  const std::string_view name = TokenAt(line);
  if (name.empty() || name.size() == line.size() || line[name.size()] != ':') return false;
  if (!IsProxyAuthenticate(name)) return true;
  std::string_view value = line.substr(name.size() + 1);
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  const std::string_view scheme = TokenAt(value);
  if (scheme.empty() || schemes_.size() + 2 + scheme.size() > kMaxSchemes) return true;
  if (!schemes_.empty()) schemes_.append(", ");
  schemes_.append(scheme);
  return true;
}

}  // namespace sallyport::runtime
