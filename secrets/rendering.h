#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "secrets/spelling.h"

namespace sallyport::secrets {

/// What a value is turned into before its characters are spelled.
enum class Form : uint8_t {
  kText,  ///< Itself.
  kHexLower,
  kHexUpper,
  kBase64At0,  ///< Base64 or base64url of bytes in which the value begins at a multiple of three.
  kBase64At1,  ///< … one byte behind one.
  kBase64At2,
};
inline constexpr std::array kForms = {Form::kText,      Form::kHexLower,  Form::kHexUpper,
                                      Form::kBase64At0, Form::kBase64At1, Form::kBase64At2};

/// A value in one form: a row of symbols, each of which a text may spell in its own way.
///
/// Base64 is the row of those digits that depend on nothing but the value. Beside them stand, in
/// the digits that it shares with what surrounds it, up to four bits of its first and of its last
/// byte, and the padding.
class Rendering {
 public:
  /// VALUE outlives the object and is at least kShortestValue long.
  Rendering(std::string_view value, Form form);

  struct Reach {
    size_t whole = 0;   ///< The most bytes that spell it; 0: none do.
    bool open = false;  ///< The text ends inside a spelling: with more of it there may be another.
    size_t told = 0;    ///< Where open: of so many bytes of the value it tells something.
  };
  /// How TEXT, which isn't empty, begins.
  Reach MatchAt(std::string_view text) const;

  /// How many bytes the longest spelling has.
  size_t LongestSpelling() const;

  /// A place in the row; not every number is one.
  using Place = size_t;
  Place begin() const { return 0; }
  Place end() const { return end_; }
  struct Step {
    Symbol symbol = 0;
    Place next = 0;
  };
  /// The symbol at PLACE, which isn't the end.
  Step At(Place place) const;

  /// What stands for it when PLACEHOLDER stands for the value: the same form of that. In base64 it
  /// has as many digits as the row, whatever the placeholder's length, so that what surrounds it
  /// still decodes; the placeholder, which is not empty, is repeated or cut to the value's length.
  std::string Replacement(std::string_view placeholder) const;

 private:
  /// How far a reading of a text has come, in it and in the row.
  struct Way {
    size_t at = 0;
    Place place = 0;
    auto operator<=>(const Way&) const = default;
  };
  /// How many bytes of the value the row's symbols up to PLACE tell, in whole or in part.
  size_t Told(Place place) const;
  /// WAY, as far as it goes on over letters and digits.
  Way RunPlain(std::string_view text, Way way) const;
  /// Puts into WAYS, and notes in REACH, what may follow WAY.
  void StepOn(std::string_view text, Way way, std::set<Way>& ways, Reach& reach) const;

  std::string_view value_;
  Form form_;
  Place end_;
};

/// Shorter values would be found in any text.
constexpr size_t kShortestValue = 8;

}  // namespace sallyport::secrets
