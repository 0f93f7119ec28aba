#include "secrets/spelled_text.h"

#include <string.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

namespace sallyport::secrets {
namespace {

/// Means what no placeholder has in it.
constexpr char kOther = '\x01';

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// How many hexadecimal digits TEXT begins with, up to MOST.
size_t HexDigits(std::string_view text, size_t most) {
  size_t count = 0;
  while (count < std::min(text.size(), most) && HexDigit(text[count]) >= 0) ++count;
  return count;
}

struct Unit {
  char meant = kOther;
  size_t raw_size = 1;  ///< 0: cut by the end of the text.
};

/// The unit at the '%' that TEXT begins with.
Unit PercentUnit(std::string_view text, SpelledText::End end) {
  const size_t digits = HexDigits(text.substr(1), 2);
  if (digits == 2) return {static_cast<char>(HexDigit(text[1]) << 4 | HexDigit(text[2])), 3};
  const bool cut = digits + 1 == text.size() && end == SpelledText::End::kMayGoOn;
  return {'%', cut ? size_t{0} : 1};
}

/// The unit at the "\u" that TEXT begins with. Beyond ASCII, no placeholder is meant.
Unit UnicodeUnit(std::string_view text, SpelledText::End end) {
  const size_t digits = HexDigits(text.substr(2), 4);
  if (digits < 4) {
    const bool cut = digits + 2 == text.size() && end == SpelledText::End::kMayGoOn;
    return {kOther, cut ? size_t{0} : 2};
  }
  int code = 0;
  for (size_t i = 2; i < 6; ++i) code = code << 4 | HexDigit(text[i]);
  const bool visible = code > 0x20 && code < 0x7f && code != '"';
  return {visible ? static_cast<char>(code) : kOther, 6};
}

/// The unit at the backslash that TEXT, inside a string, begins with. A quoted quote does not mean
/// '"', so that every '"' in the meaning begins or ends a string.
Unit JsonUnit(std::string_view text, SpelledText::End end) {
  if (text.size() == 1) return {kOther, end == SpelledText::End::kMayGoOn ? size_t{0} : 1};
  if (text[1] == 'u') return UnicodeUnit(text, end);
  return {text[1] == '/' ? '/' : kOther, 2};
}

/// Whether TEXT has an odd number of '"'. Every byte of a JSON body goes through here, so eight are
/// looked at at once: where one of them is '"', bit 7 of `hits` is set there, and nowhere else.
bool HasOddQuotes(std::string_view text) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kLow7 = 0x7f * kOnes;
  uint64_t odd = 0;
  for (; text.size() >= sizeof odd; text.remove_prefix(sizeof odd)) {
    uint64_t word = 0;
    memcpy(&word, text.data(), sizeof word);
    word ^= '"' * kOnes;
    const uint64_t hits = ~(((word & kLow7) + kLow7) | word | kLow7);
    odd ^= hits;
  }
  const auto rest = static_cast<int>(std::count(text.begin(), text.end(), '"'));
  return (std::popcount(odd) + rest) % 2 != 0;
}

}  // namespace

SpelledText::SpelledText(std::string_view raw, Spelling spelling, End end, Start start)
    : meant_(raw) {
  if (spelling == Spelling::kPercent) ReadPercent(raw, end);
  if (spelling == Spelling::kJson) ReadJson(raw, end, start);
}

size_t SpelledText::RawAt(size_t at) const {
  const auto after =
      std::upper_bound(escapes_.begin(), escapes_.end(), at,
                       [](size_t place, const Escape& escape) { return place < escape.at; });
  return after == escapes_.begin() ? at : at + (after - 1)->ahead;
}

SpelledText::Start SpelledText::StartAt(size_t to, size_t from, Start start) const {
  const std::string_view between = meant_.substr(from, to - from);
  const bool moved = HasOddQuotes(between);
  return (start == Start::kInString) != moved ? Start::kInString : Start::kOutside;
}

void SpelledText::ReadPercent(std::string_view raw, End end) {
  size_t escape = raw.find('%');
  if (escape == std::string_view::npos) return;
  decoded_.reserve(raw.size());
  size_t done = 0;
  while (escape != std::string_view::npos) {
    decoded_ += raw.substr(done, escape - done);
    const Unit unit = PercentUnit(raw.substr(escape), end);
    done = unit.raw_size == 0 ? raw.size() : escape + unit.raw_size;
    if (unit.raw_size != 0) Add(unit.meant, unit.raw_size);
    escape = raw.find('%', done);
  }
  decoded_ += raw.substr(done);
  meant_ = decoded_;
}

void SpelledText::ReadJson(std::string_view raw, End end, Start start) {
  size_t escape = raw.find('\\');
  if (escape == std::string_view::npos) return;
  decoded_.reserve(raw.size());
  bool in_string = start == Start::kInString;
  size_t done = 0;
  while (escape != std::string_view::npos) {
    const std::string_view run = raw.substr(done, escape - done);
    decoded_ += run;
    in_string = in_string != HasOddQuotes(run);
    // Outside a string a backslash is an error that is not ours to repair.
    const Unit unit = in_string ? JsonUnit(raw.substr(escape), end) : Unit{'\\', 1};
    done = unit.raw_size == 0 ? raw.size() : escape + unit.raw_size;
    if (unit.raw_size != 0) Add(unit.meant, unit.raw_size);
    escape = raw.find('\\', done);
  }
  decoded_ += raw.substr(done);
  meant_ = decoded_;
}

void SpelledText::Add(char meant, size_t raw_size) {
  decoded_ += meant;
  if (raw_size == 1) return;
  const size_t ahead = escapes_.empty() ? 0 : escapes_.back().ahead;
  escapes_.push_back({decoded_.size(), ahead + raw_size - 1});
}

std::string SubstituteSpelled(const PlaceholderIndex& index, const Values& values,
                              std::string_view text, Spelling spelling, Encoding encoding) {
  const SpelledText spelled(text, spelling, SpelledText::End::kFinal);
  const std::vector<PlaceholderIndex::Match> matches = index.FindAll(spelled.meant());
  const auto value_of = [&values](size_t id) {
    return id < values.size() ? values[id] : std::nullopt;
  };
  size_t more = 0;
  for (const auto& match : matches) {
    if (const auto value = value_of(match.id)) more += EncodedSize(*value, encoding);
  }
  std::string out;
  ReserveWiped(out, text.size() + more);
  size_t done = 0;
  for (const auto& match : matches) {
    const auto value = value_of(match.id);
    if (!value) continue;
    const size_t at = spelled.RawAt(match.at);
    out += text.substr(done, at - done);
    AppendEncoded(out, *value, encoding);
    done = spelled.RawAt(match.at + match.size);
  }
  out += text.substr(done);
  return out;
}

}  // namespace sallyport::secrets
