#pragma once

#include <string>
#include <string_view>

#include "secrets/substituter.h"

namespace sallyport::secrets {

/// What substitution must give, in the plainest way: at each place, the placeholder that stands
/// there. For comparison.
inline std::string NaiveSubstitute(const PlaceholderIndex& index, const Values& values,
                                   std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t taken = 0;
    for (size_t id = 0; id < index.size() && taken == 0; ++id) {
      const std::string& placeholder = index.placeholder(id);
      if (!text.starts_with(placeholder)) continue;
      taken = placeholder.size();
      const bool has_value = id < values.size() && values[id];
      out += has_value ? *values[id] : std::string_view(placeholder);
    }
    if (taken == 0) {
      out += text.front();
      taken = 1;
    }
    text.remove_prefix(taken);
  }
  return out;
}

}  // namespace sallyport::secrets
