#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace sallyport::secrets {

/// Finds placeholders in bytes: one scan for the anchor that all of them share, then one lookup of
/// what follows it, so that the cost does not grow with their number.
///
/// Each placeholder has the anchor exactly once, the anchor never overlaps itself, and the kKeySize
/// bytes behind it belong to one placeholder only. So no placeholder contains another, at most one
/// can match at an anchor, and the order of anchors in a text is the order of its matches.
class PlaceholderIndex {
 public:
  /// Bytes behind the anchor that tell placeholders apart: 96 random bits have at least as many.
  static constexpr size_t kKeySize = 16;

  using Id = size_t;  ///< Counts from 0 in the order of Add().

  struct Match {
    size_t at = 0;
    size_t size = 0;
    Id id = 0;
  };

  /// What is known of the beginning of a stream.
  struct Scan {
    std::vector<Match> matches;  ///< Leftmost first; none overlaps another.
    size_t settled = 0;          ///< From here on, bytes may still become a placeholder.
  };

  /// ANCHOR must not be empty, nor end with its own beginning: else kInvalid.
  static Result<PlaceholderIndex> Create(std::string anchor);

  /// kInvalid, without a change, when PLACEHOLDER would break what the class promises.
  Status Add(std::string placeholder);

  const std::string& anchor() const { return anchor_; }
  const std::string& placeholder(Id id) const { return entries_[id].placeholder; }
  size_t size() const { return entries_.size(); }

  /// Every placeholder in TEXT, leftmost first.
  std::vector<Match> FindAll(std::string_view text) const;

  /// The same for TEXT that may go on. Fewer bytes than the longest placeholder are unsettled.
  Scan ScanStream(std::string_view text) const;

 private:
  struct Entry {
    std::string placeholder;
    size_t anchor_at;
  };
  struct KeyHash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return std::hash<std::string_view>()(key); }
  };
  struct Candidate;

  explicit PlaceholderIndex(std::string anchor) : anchor_(std::move(anchor)) {}
  struct AnchorScan {
    std::vector<Match> matches;
    size_t end_of_last = 0;
    std::optional<size_t>
        cut_at;  ///< A placeholder begins here, has its anchor, and lacks its end.
  };
  AnchorScan ScanAnchors(std::string_view text) const;
  Candidate AtAnchor(std::string_view text, size_t from, size_t anchor_at) const;
  Candidate AtCutAnchor(std::string_view text, size_t from, size_t anchor_at) const;
  Candidate Compare(std::string_view text, size_t from, size_t anchor_at, Id id) const;
  size_t CutHead(std::string_view text, size_t from) const;

  std::string anchor_;
  std::deque<Entry> entries_;  // What placeholder() gave stays valid.
  std::unordered_map<std::string, Id, KeyHash, std::equal_to<>> by_key_;
  std::vector<std::string> heads_;  ///< Each prefix with the anchor behind it, once.
  size_t longest_head_ = 0;
};

}  // namespace sallyport::secrets
