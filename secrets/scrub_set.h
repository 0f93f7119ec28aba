#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "secrets/locked_memory.h"
#include "secrets/rendering.h"
#include "secrets/scrub_value.h"

namespace sallyport::secrets {

/// Finds every rendering of several values in bytes. Never changes; kept by a shared pointer, so
/// that whoever searches with it may go on while secrets change.
///
/// How: see the top of scrub_set.cc.
class ScrubSet {
 public:
  struct Item {
    std::shared_ptr<const ScrubValue> value;
    std::string placeholder;  ///< Stands for the value in what is scrubbed.
  };

  /// Of two items with one value the first counts. kLimit when memory can't be locked. Null for no
  /// items.
  static Result<std::shared_ptr<const ScrubSet>> Compile(std::vector<Item> items);

  /// A place of a text where a value is spelled, or may be.
  struct Match {
    size_t at = 0;
    size_t size = 0;     ///< The longest spelling that is there; 0: none is yet.
    size_t pattern = 0;  ///< Whose; see Replacement().
    bool open = false;   ///< With more text there may be a longer one.
  };
  enum class Ending { kMayGoOn, kFinal };

  /// The first such place of TEXT at or behind FROM. A final text has no open ones.
  std::optional<Match> Find(std::string_view text, size_t from, Ending ending) const;

  /// How many bytes of TEXT, the beginning of which Find() left open, may be shown while nobody
  /// knows how it goes on: up to the first place where a value is spelled, or has begun to be by
  /// more than MostTold() bytes of it. What began with less is shown, or the message that ends with it
  /// would wait for one that may never come.
  size_t MayShow(std::string_view text) const;

  /// So many bytes of a value, in whatever rendering, may be shown when a text pauses in it: those
  /// that its placeholder begins with, too, which the guest knows, and a quarter of the others, of
  /// these never more than kMostUnknownTold.
  static size_t MostTold(std::string_view value, std::string_view placeholder);
  /// Of random letters and digits, so many are met by chance once in 10^12 times.
  static constexpr size_t kMostUnknownTold = 7;

  /// What its placeholder is in the same rendering.
  std::string Replacement(size_t pattern) const;

  /// No more bytes than this are ever spelled.
  size_t longest_spelling() const { return longest_spelling_; }

 private:
  struct Entry {
    uint32_t block = 0;
    uint32_t pattern_and_back = 0;  ///< The latter in the lowest kBackBits.
  };

  /// How many there are of what is in `memory_`.
  struct Sizes {
    size_t filter_words = 0;
    size_t buckets = 0;
    size_t entries = 0;
    size_t members = 0;  ///< One for each pattern and each byte that it may begin with.
  };

  ScrubSet() = default;
  void AddPatterns();
  Sizes Measure() const;
  Status Allocate(const Sizes& sizes);
  void FillBlocks(size_t buckets);
  void FillBeginnings();
  bool MayBeBlock(uint32_t block) const;
  std::span<const Entry> Bucket(uint32_t block) const;
  std::optional<Match> FindAround(std::string_view text, size_t from, size_t at,
                                  Ending ending) const;
  std::optional<Match> FindOpen(std::string_view text, size_t from) const;
  void Consider(std::string_view text, size_t at, size_t pattern, Ending ending,
                std::optional<Match>& best) const;

  std::vector<Item> items_;
  std::vector<Rendering> patterns_;  ///< kForms.size() for each item.
  std::vector<size_t> most_told_;    ///< By item.
  size_t stride_ = ScrubValue::kMaxStride;
  size_t longest_spelling_ = 0;

  LockedMemory memory_;          ///< All of this:
  uint64_t* filter_ = nullptr;   ///< Bits: whether some block has this hash.
  uint32_t* buckets_ = nullptr;  ///< Where the entries of a bucket begin; one more at the end.
  Entry* entries_ = nullptr;     ///< By bucket.
  uint32_t* begins_ = nullptr;   ///< Where the members of a first byte begin; one more at the end.
  uint32_t* members_ = nullptr;  ///< Patterns, by each byte that they may begin with.
  int filter_shift_ = 0;
  int bucket_shift_ = 0;
};

}  // namespace sallyport::secrets
