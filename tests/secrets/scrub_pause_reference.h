#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tests/secrets/scrub_reference.h"

// What a stream that is scrubbed must show when it pauses, in the plainest way.

namespace sallyport::secrets {

/// Of how many characters of PATTERN's row TEXT, which spells its beginning and not all of it, shows
/// something; -1: it does not spell a beginning.
inline long NaiveBegun(const NaivePattern& pattern, std::string_view text, size_t at = 0) {
  if (text.empty()) return static_cast<long>(at);
  long most = -1;
  for (const std::string& spelling : pattern.spellings[at]) {
    if (text.front() != spelling.front()) continue;
    if (text.size() < spelling.size() && spelling.starts_with(text)) {
      most = std::max(most, static_cast<long>(at) + 1);
    } else if (text.starts_with(spelling) && at + 1 < pattern.row.size()) {
      most = std::max(most, NaiveBegun(pattern, text.substr(spelling.size()), at + 1));
    }
  }
  return most;
}

/// Whether COUNT characters of PATTERN's row tell more of its value than may be shown.
inline bool NaiveTellsTooMuch(const NaivePattern& pattern, long count) {
  const auto& [value, placeholder] = *pattern.secret;
  size_t known = 0;
  while (known < value.size() && known < placeholder.size() && value[known] == placeholder[known]) {
    ++known;
  }
  const size_t may = known + std::min<size_t>(7, (value.size() - known) / 4);
  size_t bits = 0;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    bits += pattern.kind == NaivePattern::Kind::kText  ? 8 * pattern.row[i].first.size()
            : pattern.kind == NaivePattern::Kind::kHex ? 4
                                                       : 6;
  }
  // A base64 digit that has bits of other bytes is none of the row's.
  if (pattern.kind == NaivePattern::Kind::kBase64 && pattern.before > 0) {
    bits += pattern.before == 1 ? 4 : 2;
  }
  return bits > 8 * may;
}

struct NaivePause {
  size_t settled;  ///< Nothing before this is open any more.
  size_t shown;    ///< So much of the text was dealt with or shown.
};

/// How far a stream has come that pauses behind TEXT.
inline NaivePause NaivePauseBehind(const std::vector<NaivePattern>& patterns,
                                   std::string_view text) {
  const auto any = [&](size_t at, auto condition) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const NaivePattern& pattern) {
      const long begun = NaiveBegun(pattern, text.substr(at));
      return begun >= 0 && condition(pattern, begun);
    });
  };
  size_t at = 0;
  while (at < text.size() && !any(at, [](const NaivePattern&, long) { return true; })) {
    at += std::max<size_t>(1, NaiveBest(patterns, text.substr(at)).second);
  }
  size_t shown = at;
  while (shown < text.size() && NaiveBest(patterns, text.substr(shown)).first == nullptr &&
         !any(shown, NaiveTellsTooMuch)) {
    ++shown;
  }
  return {at, shown};
}

enum class NaiveLengths { kMayChange, kKept };

/// What must come out of TEXT in all when it makes PAUSES.
inline std::string NaiveScrubPausing(const std::vector<NaivePattern>& patterns,
                                     std::string_view text, const std::vector<NaivePause>& pauses,
                                     NaiveLengths lengths) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto [best, size] = NaiveBest(patterns, text.substr(at));
    if (best == nullptr) {
      out += text[at++];
      continue;
    }
    std::string replacement = best->replacement;
    if (lengths == NaiveLengths::kKept) {
      while (replacement.size() < size) replacement += best->replacement;
      replacement.resize(size);
    }
    size_t begun = 0;
    for (const NaivePause& pause : pauses) {
      if (pause.settled <= at && pause.shown > at) begun = std::max(begun, pause.shown - at);
    }
    out += text.substr(at, begun);
    out += replacement.substr(std::min(begun, replacement.size()));
    at += size;
  }
  return out;
}

}  // namespace sallyport::secrets
