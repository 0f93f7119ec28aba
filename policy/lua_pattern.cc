#include "policy/lua_pattern.h"

#include <algorithm>

// A backtracking matcher, as Lua's own: an item (a character, class or set, with an optional
// repetition) is matched at the subject's position s, then the rest of the pattern from p on. Plain
// items loop; everything that must be able to go back recurses, at most kMaxDepth deep. After an
// error every function returns "no match" and error_ says why.

namespace sallyport::policy {
namespace {

// Classes are those of the C locale, whatever the process is set to.
bool IsLower(unsigned char c) {
  return c >= 'a' && c <= 'z';
}
bool IsUpper(unsigned char c) {
  return c >= 'A' && c <= 'Z';
}
bool IsDigit(unsigned char c) {
  return c >= '0' && c <= '9';
}
bool IsAlpha(unsigned char c) {
  return IsLower(c) || IsUpper(c);
}
bool IsGraph(unsigned char c) {
  return c > 0x20 && c < 0x7f;
}
bool IsSpace(unsigned char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool IsHex(unsigned char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// "%a" and its like; the upper-case letter negates. Any other character stands for itself.
bool MatchesClass(unsigned char c, unsigned char name) {
  const unsigned char lower = IsUpper(name) ? static_cast<unsigned char>(name - 'A' + 'a') : name;
  bool matches = false;
  switch (lower) {
    case 'a':
      matches = IsAlpha(c);
      break;
    case 'c':
      matches = c < 0x20 || c == 0x7f;
      break;
    case 'd':
      matches = IsDigit(c);
      break;
    case 'g':
      matches = IsGraph(c);
      break;
    case 'l':
      matches = IsLower(c);
      break;
    case 'p':
      matches = IsGraph(c) && !IsAlpha(c) && !IsDigit(c);
      break;
    case 's':
      matches = IsSpace(c);
      break;
    case 'u':
      matches = IsUpper(c);
      break;
    case 'w':
      matches = IsAlpha(c) || IsDigit(c);
      break;
    case 'x':
      matches = IsHex(c);
      break;
    default:
      return name == c;
  }
  return IsUpper(name) ? !matches : matches;
}

}  // namespace

std::optional<size_t> LuaPattern::MatchAt(size_t position) {
  level_ = 0;
  depth_ = 0;
  error_ = nullptr;
  const Position end = Match(position, 0);
  if (error_ != nullptr) return std::nullopt;
  if (!end) return std::nullopt;
  for (int i = 0; i < level_; ++i) {
    if (captures_[static_cast<size_t>(i)].state == State::kOpen) return Fail("unfinished capture");
  }
  return end;
}

LuaPattern::Position LuaPattern::Fail(const char* error) {
  if (error_ == nullptr) error_ = error;
  return std::nullopt;
}

LuaPattern::Position LuaPattern::Match(size_t s, size_t p) {
  if (++depth_ > kMaxDepth) return Fail("pattern too complex");
  Position result;
  while (true) {
    steps_.Count(1);
    if (error_ != nullptr) break;
    if (p == pattern_.size()) {
      result = s;
      break;
    }
    const char c = pattern_[p];
    if (c == '(') {
      result = At(p + 1, ')') ? StartCapture(s, p + 2, true) : StartCapture(s, p + 1, false);
      break;
    }
    if (c == ')') {
      result = EndCapture(s, p + 1);
      break;
    }
    if (c == '$' && p + 1 == pattern_.size()) {
      if (s == subject_.size()) result = s;
      break;
    }
    if (c == '%' && At(p + 1, 'b')) {
      const Position end = MatchBalance(s, p + 2);
      if (!end) break;
      s = *end;
      p += 4;
      continue;
    }
    if (c == '%' && At(p + 1, 'f')) {
      if (!At(p + 2, '[')) {
        Fail("missing '[' after '%f' in pattern");
        break;
      }
      const size_t set_end = ItemEnd(p + 2);
      if (error_ != nullptr || !MatchFrontier(s, p + 2, set_end)) break;
      p = set_end;
      continue;
    }
    if (c == '%' && p + 1 < pattern_.size() &&
        IsDigit(static_cast<unsigned char>(pattern_[p + 1]))) {
      const Position end = MatchBackReference(s, pattern_[p + 1]);
      if (!end) break;
      s = *end;
      p += 2;
      continue;
    }
    const size_t item_end = ItemEnd(p);
    if (error_ != nullptr) break;
    bool again = false;
    result = MatchDefault(s, p, item_end, again, s, p);
    if (!again) break;
  }
  --depth_;
  return result;
}

// A single character, class or set with what may follow it. AGAIN: go on at NEXT_S and NEXT_P.
LuaPattern::Position LuaPattern::MatchDefault(size_t s, size_t p, size_t item_end, bool& again,
                                              size_t& next_s, size_t& next_p) {
  const char suffix = item_end < pattern_.size() ? pattern_[item_end] : '\0';
  if (suffix == '*') return MaxExpand(s, p, item_end);
  if (suffix == '-') return MinExpand(s, p, item_end);
  const bool matches = MatchesSingle(s, p, item_end);
  if (suffix == '+') return matches ? MaxExpand(s + 1, p, item_end) : std::nullopt;
  if (suffix == '?') {
    if (matches) {
      if (const Position end = Match(s + 1, item_end + 1)) return end;
    }
    if (error_ != nullptr) return std::nullopt;
    next_s = s;
    next_p = item_end + 1;
    again = true;
    return std::nullopt;
  }
  if (!matches) return std::nullopt;
  next_s = s + 1;
  next_p = item_end;
  again = true;
  return std::nullopt;
}

LuaPattern::Position LuaPattern::MaxExpand(size_t s, size_t p, size_t item_end) {
  size_t count = 0;
  while (MatchesSingle(s + count, p, item_end)) ++count;
  steps_.Count(static_cast<int64_t>(count));
  while (true) {
    if (const Position end = Match(s + count, item_end + 1)) return end;
    if (error_ != nullptr || count == 0) return std::nullopt;
    --count;
  }
}

LuaPattern::Position LuaPattern::MinExpand(size_t s, size_t p, size_t item_end) {
  while (true) {
    if (const Position end = Match(s, item_end + 1)) return end;
    if (error_ != nullptr || !MatchesSingle(s, p, item_end)) return std::nullopt;
    ++s;
  }
}

LuaPattern::Position LuaPattern::MatchBalance(size_t s, size_t p) {
  if (p + 1 >= pattern_.size()) return Fail("malformed pattern (missing arguments to '%b')");
  if (s >= subject_.size() || subject_[s] != pattern_[p]) return std::nullopt;
  const char open = pattern_[p];
  const char close = pattern_[p + 1];
  size_t nested = 1;
  for (size_t i = s + 1; i < subject_.size(); ++i) {
    steps_.Count(1);
    if (subject_[i] == close) {
      if (--nested == 0) return i + 1;
    } else if (subject_[i] == open) {
      ++nested;
    }
  }
  return std::nullopt;
}

LuaPattern::Position LuaPattern::StartCapture(size_t s, size_t p, bool is_position) {
  if (level_ >= kMaxCaptures) return Fail("too many captures");
  Slot& slot = captures_[static_cast<size_t>(level_)];
  slot.capture = {s, 0, is_position};
  slot.state = is_position ? State::kClosed : State::kOpen;
  ++level_;
  const Position end = Match(s, p);
  if (!end) --level_;
  return end;
}

LuaPattern::Position LuaPattern::EndCapture(size_t s, size_t p) {
  for (int i = level_ - 1; i >= 0; --i) {
    Slot& slot = captures_[static_cast<size_t>(i)];
    if (slot.state == State::kClosed) continue;
    slot.capture.length = s - slot.capture.start;
    slot.state = State::kClosed;
    const Position end = Match(s, p);
    if (!end) slot.state = State::kOpen;
    return end;
  }
  return Fail("invalid pattern capture");
}

LuaPattern::Position LuaPattern::MatchBackReference(size_t s, char digit) {
  const int index = digit - '1';
  if (index < 0 || index >= level_ || captures_[static_cast<size_t>(index)].state == State::kOpen) {
    return Fail("invalid capture index in pattern");
  }
  const Capture& capture = captures_[static_cast<size_t>(index)].capture;
  const std::string_view wanted = subject_.substr(capture.start, capture.length);
  steps_.Count(static_cast<int64_t>(wanted.size()));
  if (subject_.substr(s, wanted.size()) != wanted) return std::nullopt;
  return s + wanted.size();
}

// "%f[set]": an empty string between a character outside of the set and one inside.
bool LuaPattern::MatchFrontier(size_t s, size_t set_start, size_t set_end) {
  const auto byte_at = [this](size_t i) {
    return i < subject_.size() ? static_cast<unsigned char>(subject_[i])
                               : static_cast<unsigned char>(0);
  };
  const unsigned char before = s == 0 ? static_cast<unsigned char>(0) : byte_at(s - 1);
  return !MatchesSet(before, set_start, set_end - 1) &&
         MatchesSet(byte_at(s), set_start, set_end - 1);
}

bool LuaPattern::MatchesSingle(size_t s, size_t p, size_t item_end) const {
  if (s >= subject_.size()) return false;
  const auto c = static_cast<unsigned char>(subject_[s]);
  switch (pattern_[p]) {
    case '.':
      return true;
    case '%':
      return MatchesClass(c, static_cast<unsigned char>(pattern_[p + 1]));
    case '[':
      return MatchesSet(c, p, item_end - 1);
    default:
      return static_cast<unsigned char>(pattern_[p]) == c;
  }
}

// The set from '[' at P to ']' at LAST; ItemEnd has checked its form.
bool LuaPattern::MatchesSet(unsigned char c, size_t p, size_t last) const {
  bool wanted = true;
  if (pattern_[p + 1] == '^') {
    wanted = false;
    ++p;
  }
  steps_.Count(1 + static_cast<int64_t>((last - p) / 16));
  while (++p < last) {
    const auto here = static_cast<unsigned char>(pattern_[p]);
    if (here == '%') {
      ++p;
      if (MatchesClass(c, static_cast<unsigned char>(pattern_[p]))) return wanted;
    } else if (pattern_[p + 1] == '-' && p + 2 < last) {
      if (here <= c && c <= static_cast<unsigned char>(pattern_[p + 2])) return wanted;
      p += 2;
    } else if (here == c) {
      return wanted;
    }
  }
  return !wanted;
}

// Where the item that starts at P ends, without a repetition.
size_t LuaPattern::ItemEnd(size_t p) {
  const char c = pattern_[p++];
  if (c == '%') {
    if (p == pattern_.size()) {
      Fail("malformed pattern (ends with '%')");
      return p;
    }
    return p + 1;
  }
  if (c != '[') return p;
  if (At(p, '^')) ++p;
  const size_t start = p;
  do {  // The first character may be a ']'.
    if (p == pattern_.size()) break;
    if (pattern_[p++] == '%') {
      if (p == pattern_.size()) break;
      ++p;
    }
  } while (!At(p, ']'));
  steps_.Count(static_cast<int64_t>((p - start) / 16));
  if (p >= pattern_.size()) {
    Fail("malformed pattern (missing ']')");
    return p;
  }
  return p + 1;
}

}  // namespace sallyport::policy
