#include "secrets/rendering.h"

#include <algorithm>

namespace sallyport::secrets {
namespace {

constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kLowerDigits = "0123456789abcdef";
constexpr std::string_view kUpperDigits = "0123456789ABCDEF";

bool IsBase64(Form form) {
  return form >= Form::kBase64At0;
}

/// How many bits of other bytes come before the value's, in its first group of base64.
size_t BitsBefore(Form form) {
  return 8 * (static_cast<size_t>(form) - static_cast<size_t>(Form::kBase64At0));
}

/// The first digit that has nothing of the bytes before; counted from the group's beginning.
size_t FirstDigit(Form form) {
  return (BitsBefore(form) + 5) / 6;
}

/// The digits that depend on SIZE bytes alone.
size_t DigitCount(Form form, size_t size) {
  return (BitsBefore(form) + 8 * size) / 6 - FirstDigit(form);
}

/// Six bits of VALUE: the Nth digit that depends on it alone.
size_t Sextet(std::string_view value, Form form, size_t n) {
  const size_t bit = 6 * (FirstDigit(form) + n) - BitsBefore(form);
  const auto byte = [value](size_t i) {
    return i < value.size() ? static_cast<unsigned char>(value[i]) : 0U;
  };
  const unsigned two = byte(bit / 8) << 8 | byte(bit / 8 + 1);
  return two >> (10 - bit % 8) & 0x3f;
}

char Nibble(std::string_view value, Form form, size_t n) {
  const auto byte = static_cast<unsigned char>(value[n / 2]);
  const std::string_view digits = form == Form::kHexUpper ? kUpperDigits : kLowerDigits;
  return digits[n % 2 == 0 ? byte >> 4 : byte & 0xf];
}

size_t EndOf(std::string_view value, Form form) {
  if (form == Form::kText) return value.size();
  return IsBase64(form) ? DigitCount(form, value.size()) : 2 * value.size();
}

}  // namespace

Rendering::Rendering(std::string_view value, Form form)
    : value_(value), form_(form), end_(EndOf(value, form)) {}

Rendering::Step Rendering::At(Place place) const {
  if (form_ == Form::kText) {
    const DecodedSymbol decoded = DecodeSymbol(value_.substr(place));
    return {decoded.symbol, place + decoded.size};
  }
  if (!IsBase64(form_)) {
    return {static_cast<unsigned char>(Nibble(value_, form_, place)), place + 1};
  }
  const char digit = kBase64Digits[Sextet(value_, form_, place)];
  if (digit == '+') return {kBase64Plus, place + 1};
  if (digit == '/') return {kBase64Slash, place + 1};
  return {static_cast<unsigned char>(digit), place + 1};
}

size_t Rendering::Told(Place place) const {
  if (form_ == Form::kText) return place;
  if (!IsBase64(form_)) return (place + 1) / 2;
  return (6 * (FirstDigit(form_) + place) - BitsBefore(form_) + 7) / 8;
}

Rendering::Way Rendering::RunPlain(std::string_view text, Way way) const {
  for (; way.place != end_ && way.at != text.size(); ++way.at) {
    const Step step = At(way.place);
    if (!IsPlain(step.symbol) || static_cast<unsigned char>(text[way.at]) != step.symbol) break;
    way.place = step.next;
  }
  return way;
}

void Rendering::StepOn(std::string_view text, Way way, std::set<Way>& ways, Reach& reach) const {
  if (way.place == end_) {
    reach.whole = std::max(reach.whole, way.at);
    return;
  }
  const std::string_view rest = text.substr(way.at);
  const Step step = At(way.place);
  const bool fails = IsPlain(step.symbol) && !rest.empty() &&
                     static_cast<unsigned char>(rest.front()) != step.symbol;
  if (fails) return;  // The usual end of a near miss, without a look at spellings.
  Spellings scratch;
  const Spellings& spellings = SpellingsOf(step.symbol, scratch);
  for (size_t i = 0; i < spellings.size(); ++i) {
    if (rest.starts_with(spellings[i])) {
      ways.insert({way.at + spellings[i].size(), step.next});
    } else if (spellings[i].starts_with(rest)) {
      reach.open = true;
      reach.told = std::max(reach.told, Told(rest.empty() ? way.place : step.next));
    }
  }
}

// A value may have characters with which other characters are spelled: "%25" is a percent sign, or
// the beginning of a value "%25…" as it is. So all ways of reading the text are followed, always
// the one that is least far in it next, and those that meet are one.
Rendering::Reach Rendering::MatchAt(std::string_view text) const {
  Reach reach;
  std::set<Way> others;
  for (Way way;;) {
    if (others.empty()) way = RunPlain(text, way);  // Most of every value; needs no memory.
    StepOn(text, way, others, reach);
    if (others.empty()) return reach;
    way = others.extract(others.begin()).value();
  }
}

size_t Rendering::LongestSpelling() const {
  size_t sum = 0;
  Spellings scratch;
  for (Place place = begin(); place != end_;) {
    const Step step = At(place);
    const Spellings& spellings = SpellingsOf(step.symbol, scratch);
    size_t longest = 0;
    for (size_t i = 0; i < spellings.size(); ++i) longest = std::max(longest, spellings[i].size());
    sum += longest;
    place = step.next;
  }
  return sum;
}

std::string Rendering::Replacement(std::string_view placeholder) const {
  if (form_ == Form::kText) return std::string(placeholder);
  std::string text;
  if (!IsBase64(form_)) {
    for (size_t n = 0; n < 2 * placeholder.size(); ++n) text += Nibble(placeholder, form_, n);
    return text;
  }
  std::string stretched(value_.size(), '\0');
  for (size_t i = 0; i < stretched.size(); ++i) stretched[i] = placeholder[i % placeholder.size()];
  for (size_t n = 0; n < end_; ++n) text += kBase64Digits[Sextet(stretched, form_, n)];
  return text;
}

}  // namespace sallyport::secrets
