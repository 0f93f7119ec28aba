#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::secrets {

/// Every placeholder is PREFIX, the store's anchor, TAIL. The prefix is public text, the tail has
/// never fewer than 96 random bits. Nothing of the value is visible but its issuer's prefix, its
/// length up to kMaxPlaceholder, and which kinds of characters it has.
struct PlaceholderShape {
  /// Stands in `tail` for one random character of `alphabet`.
  static constexpr char kRandom = '\x01';

  std::string prefix;
  std::string alphabet;
  std::string tail;
};

/// A placeholder longer than this would not fit where the guest uses it: a substituter may hold
/// back this much, and servers end header lines at 8 KiB.
constexpr size_t kMaxPlaceholder = 4096;

/// The shape that programs take for a value like VALUE: its public prefix, its alphabet, its
/// length, the groups of a UUID, the three segments of a JWT.
PlaceholderShape ShapeOf(std::string_view value);

/// The shape that a user asked for: literal text with one "{random}", filled up to VALUE_SIZE.
/// kInvalid says what is wrong with FORM.
Result<PlaceholderShape> ShapeOfForm(std::string_view form, size_t value_size);

/// An anchor: digits, since those are in the alphabet of every kind of value, that do not overlap
/// with themselves, so that two anchors in a text never share a byte.
Result<std::string> MakeAnchor();

/// A new placeholder of SHAPE. kSystem without randomness.
Result<std::string> MakePlaceholder(const PlaceholderShape& shape, std::string_view anchor);

}  // namespace sallyport::secrets
