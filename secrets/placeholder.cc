#include "secrets/placeholder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "secrets/public_prefix.h"
#include "secrets/random_text.h"

namespace sallyport::secrets {
namespace {

constexpr double kRandomBits = 96;
/// Eight digits meet by chance once in 100 MB of digits, and then cost one hash lookup. With 24
/// hexadecimal characters of randomness they make 32, the usual length of a hexadecimal key.
constexpr size_t kAnchorSize = 8;
/// Literal text of a user's form, on each side of "{random}".
constexpr size_t kMaxLiteral = 64;
/// Values shorter than this show their whole alphabet, not whether they are hexadecimal.
constexpr size_t kMinHex = 16;

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kLowerHex = "abcdef";
constexpr std::string_view kUpperHex = "ABCDEF";
constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// {"alg":"HS256","typ":"JWT"} and {}: what reads a token without its key finds no claims.
constexpr std::string_view kJwtPrefix = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.";
/// The groups of a UUID behind the first one, which the anchor fills.
constexpr size_t kUuidGroups[] = {4, 4, 4, 12};
constexpr size_t kUuidSize = 36;

bool Has(std::string_view text, std::string_view characters) {
  return text.find_first_of(characters) != std::string_view::npos;
}

bool HasOnly(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == std::string_view::npos;
}

std::string Joined(std::string_view a, std::string_view b, std::string_view c = {}) {
  std::string text(a);
  text += b;
  text += c;
  return text;
}

/// The characters a placeholder for TEXT may have: never any that must be quoted somewhere.
std::string AlphabetOf(std::string_view text) {
  const bool long_enough = text.size() >= kMinHex;
  if (long_enough && HasOnly(text, kDigits)) return std::string(kDigits);
  if (long_enough && HasOnly(text, Joined(kDigits, kLowerHex))) return Joined(kDigits, kLowerHex);
  if (long_enough && HasOnly(text, Joined(kDigits, kUpperHex))) return Joined(kDigits, kUpperHex);
  const bool lower = Has(text, kLower);
  const bool upper = Has(text, kUpper);
  std::string alphabet(kDigits);
  if (lower || !upper) alphabet += kLower;
  if (upper || !lower) alphabet += kUpper;
  if (Has(text, "-")) alphabet += '-';
  if (Has(text, "_")) alphabet += '_';
  return alphabet;
}

/// How many characters of an alphabet hold kRandomBits.
size_t CharactersNeeded(size_t alphabet_size) {
  return static_cast<size_t>(
      std::ceil(kRandomBits / std::log2(static_cast<double>(alphabet_size))));
}

/// As many random characters as bring FIXED others and the anchor up to SIZE, and never too few.
std::string RandomTail(size_t alphabet_size, size_t fixed, size_t size) {
  const size_t wanted = std::min(size, kMaxPlaceholder);
  const size_t taken = fixed + kAnchorSize;
  const size_t room = wanted > taken ? wanted - taken : 0;
  return std::string(std::max(room, CharactersNeeded(alphabet_size)), PlaceholderShape::kRandom);
}

bool IsUuid(std::string_view value) {
  if (value.size() != kUuidSize) return false;
  for (size_t i = 0; i < value.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (value[i] == '-')) return false;
    if (!dash && !Has(value.substr(i, 1), "0123456789abcdefABCDEF")) return false;
  }
  return true;
}

PlaceholderShape UuidShape(std::string_view value) {
  PlaceholderShape shape;
  shape.alphabet = Joined(kDigits, Has(value, kUpperHex) ? kUpperHex : kLowerHex);
  for (const size_t group : kUuidGroups) {
    shape.tail += '-';
    shape.tail.append(group, PlaceholderShape::kRandom);
  }
  return shape;
}

bool IsJwt(std::string_view value) {
  const size_t first = value.find('.');
  const size_t last = value.rfind('.');
  return value.starts_with("eyJ") && std::count(value.begin(), value.end(), '.') == 2 &&
         last > first + 1 && last + 1 < value.size() &&
         HasOnly(value, Joined(kDigits, kLower, Joined(kUpper, "-_.")));
}

/// Whether TEXT can stand in a header, a URL, a shell word and a JSON string as it is.
bool IsPlainLiteral(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < '\x7f' &&
           std::string_view("\"'\\`$<>{}").find(c) == std::string_view::npos;
  });
}

/// Whether no proper prefix of TEXT is also its end.
bool IsBorderless(std::string_view text) {
  for (size_t size = 1; size < text.size(); ++size) {
    if (text.ends_with(text.substr(0, size))) return false;
  }
  return true;
}

}  // namespace

PlaceholderShape ShapeOf(std::string_view value) {
  if (IsUuid(value)) return UuidShape(value);
  PlaceholderShape shape;
  if (IsJwt(value)) {
    shape.prefix = kJwtPrefix;
    shape.alphabet = Joined(kDigits, kLower, Joined(kUpper, "-_"));
  } else {
    shape.prefix = PublicPrefixOf(value);
    shape.alphabet = AlphabetOf(value.substr(shape.prefix.size()));
  }
  shape.tail = RandomTail(shape.alphabet.size(), shape.prefix.size(), value.size());
  return shape;
}

Result<PlaceholderShape> ShapeOfForm(std::string_view form, size_t value_size) {
  constexpr std::string_view kToken = "{random}";
  const size_t at = form.find(kToken);
  if (at == std::string_view::npos || form.find(kToken, at + 1) != std::string_view::npos) {
    return Fail(
        Code::kInvalid,
        "placeholder must have {random} in it, once: a fixed text could not be told from the "
        "same text elsewhere");
  }
  const std::string_view before = form.substr(0, at);
  const std::string_view after = form.substr(at + kToken.size());
  if (before.size() > kMaxLiteral || after.size() > kMaxLiteral) {
    return Fail(Code::kInvalid, "placeholder has more than 64 characters beside {random}");
  }
  if (!IsPlainLiteral(before) || !IsPlainLiteral(after)) {
    return Fail(
        Code::kInvalid,
        "placeholder has a character that some place would need quoted; use letters, digits "
        "and -_.:/+=@,;!#%&()*?[]^|~");
  }
  PlaceholderShape shape;
  shape.prefix = before;
  shape.alphabet = Joined(kDigits, kLower, kUpper);
  shape.tail = RandomTail(shape.alphabet.size(), before.size() + after.size(), value_size);
  shape.tail += after;
  return shape;
}

Result<std::string> MakeAnchor() {
  for (;;) {
    Result<std::string> anchor = RandomText(kDigits, kAnchorSize);
    if (!anchor || IsBorderless(*anchor)) return anchor;  // Nine in ten have no border.
  }
}

Result<std::string> MakePlaceholder(const PlaceholderShape& shape, std::string_view anchor) {
  const auto count = std::count(shape.tail.begin(), shape.tail.end(), PlaceholderShape::kRandom);
  Result<std::string> random = RandomText(shape.alphabet, static_cast<size_t>(count));
  if (!random) return random;
  std::string placeholder = Joined(shape.prefix, anchor, shape.tail);
  auto next = random->begin();
  for (char& c : placeholder) {
    if (c == PlaceholderShape::kRandom) c = *next++;
  }
  return placeholder;
}

}  // namespace sallyport::secrets
