#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "secrets/encodings.h"
#include "secrets/placeholder_index.h"
#include "secrets/substituter.h"

namespace sallyport::secrets {

/// How the characters of a text may be spelled.
enum class Spelling {
  kPlain,    ///< As they are.
  kPercent,  ///< As they are or as "%XX".
  kJson,     ///< In a JSON string as they are or by any of JSON's escapes.
};

/// A text as it is meant, one byte for each escape in it, so that placeholders show however they
/// are spelled; with the way back to the bytes as they stand. What can be no part of a placeholder
/// may be meant by any other such byte. Broken escapes mean themselves.
class SpelledText {
 public:
  enum class End {
    kFinal,    ///< The text is whole.
    kMayGoOn,  ///< An escape that its end cuts is left out.
  };
  enum class Start { kOutside, kInString };

  /// RAW outlives the object. START is for kJson: where the text begins.
  SpelledText(std::string_view raw, Spelling spelling, End end, Start start = Start::kOutside);
  SpelledText(const SpelledText&) = delete;
  SpelledText& operator=(const SpelledText&) = delete;

  std::string_view meant() const { return meant_; }
  /// Where in the raw text the meaning from AT on begins; AT up to meant().size().
  size_t RawAt(size_t at) const;
  /// For kJson: where TO is, when FROM, before it, is at START.
  Start StartAt(size_t to, size_t from, Start start) const;

 private:
  /// Behind `at` bytes of the meaning, the raw text is `ahead` bytes longer.
  struct Escape {
    size_t at;
    size_t ahead;
  };

  void ReadPercent(std::string_view raw, End end);
  void ReadJson(std::string_view raw, End end, Start start);
  void Add(char meant, size_t raw_size);

  std::string_view meant_;
  std::string decoded_;  // Where there are escapes: what meant_ shows.
  std::vector<Escape> escapes_;
};

/// TEXT with placeholders replaced by what VALUES has for them, in ENCODING; nothing else changes.
/// In one allocation of its own, as Substitute(). The caller wipes it.
std::string SubstituteSpelled(const PlaceholderIndex& index, const Values& values,
                              std::string_view text, Spelling spelling, Encoding encoding);

}  // namespace sallyport::secrets
