#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sallyport::policy {

/// Matches Lua patterns (Lua 5.4 manual, 6.4.1) against a subject, and tells somebody about each
/// step: a pattern like ".-.-.-.-x" takes time to the fourth power of the subject's length, and
/// nothing else would bound it. Knows nothing of Lua's state.
class LuaPattern {
 public:
  static constexpr int kMaxCaptures = 32;

  /// Told the number of steps done; raising from it is how a match is given up.
  class StepCounter {
   public:
    virtual void Count(int64_t steps) = 0;

   protected:
    ~StepCounter() = default;
  };

  /// What stands in brackets: a piece of the subject, or ("()") a position in it.
  struct Capture {
    size_t start = 0;
    size_t length = 0;
    bool is_position = false;
  };

  /// PATTERN without the leading '^', which the caller deals with.
  LuaPattern(std::string_view subject, std::string_view pattern, StepCounter& steps)
      : subject_(subject), pattern_(pattern), steps_(steps) {}

  /// Where a match that starts at POSITION ends; nothing for no match, or an error.
  std::optional<size_t> MatchAt(size_t position);

  /// What is wrong with the pattern, if MatchAt found something; null otherwise.
  const char* error() const { return error_; }
  int captures() const { return level_; }
  const Capture& capture(int index) const { return captures_[static_cast<size_t>(index)].capture; }

 private:
  enum class State { kOpen, kClosed };
  struct Slot {
    Capture capture;
    State state = State::kOpen;
  };
  using Position = std::optional<size_t>;

  // Brackets nest and items repeat by recursion; as deep as Lua itself goes.
  static constexpr int kMaxDepth = 200;

  Position Match(size_t s, size_t p);
  Position MatchDefault(size_t s, size_t p, size_t item_end, bool& again, size_t& next_s,
                        size_t& next_p);
  Position MatchBalance(size_t s, size_t p);
  Position MaxExpand(size_t s, size_t p, size_t item_end);
  Position MinExpand(size_t s, size_t p, size_t item_end);
  Position StartCapture(size_t s, size_t p, bool is_position);
  Position EndCapture(size_t s, size_t p);
  Position MatchBackReference(size_t s, char digit);
  bool MatchFrontier(size_t s, size_t set_start, size_t set_end);
  bool MatchesSingle(size_t s, size_t p, size_t item_end) const;
  bool MatchesSet(unsigned char c, size_t p, size_t last) const;
  size_t ItemEnd(size_t p);
  Position Fail(const char* error);
  bool At(size_t p, char c) const { return p < pattern_.size() && pattern_[p] == c; }

  std::string_view subject_;
  std::string_view pattern_;
  StepCounter& steps_;
  const char* error_ = nullptr;
  int depth_ = 0;
  int level_ = 0;
  std::array<Slot, kMaxCaptures> captures_;
};

}  // namespace sallyport::policy
