#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "secrets/placeholder_index.h"

namespace sallyport::secrets {

/// What goes out for each placeholder of an index, by its id. None, or an id beyond the end: the
/// placeholder stays. The views are of secrets that outlive their user.
using Values = std::vector<std::optional<std::string_view>>;

/// TEXT with placeholders replaced, in one allocation of its own: nothing that holds a value is
/// copied about or left behind. The caller wipes it.
std::string Substitute(const PlaceholderIndex& index, const Values& values, std::string_view text);

/// Replaces placeholders by their values in a stream of bytes that arrives in pieces of any size.
/// Does no I/O; the output is the same for every way of cutting the input, and the same as
/// Substitute() of the whole. What was put in is not looked at again.
class Substituter {
 public:
  /// INDEX outlives the object, and does not change meanwhile.
  Substituter(const PlaceholderIndex& index, Values values)
      : index_(index), values_(std::move(values)) {}

  /// Returns what INPUT settles of the output, as Substitute() does. Bytes that may still become a
  /// placeholder, at most one less than the longest, are held back.
  std::string Feed(std::string_view input);

  /// Ends the stream: returns the bytes held back, which are now plain data.
  std::string Finish();

  size_t held() const { return held_.size(); }

 private:
  const PlaceholderIndex& index_;
  Values values_;
  std::string held_;  // As it arrived: never a part of a value.
};

}  // namespace sallyport::secrets
