#include "runtime/cli/duration.h"

#include <charconv>
#include <cstdint>

namespace sallyport::cli {

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  if (error != std::errc() || number == 0) return std::nullopt;
  const std::string_view unit(end, static_cast<size_t>(text.end() - end));
  int64_t scale = 0;
  if (unit == "ms") scale = 1;
  if (unit == "s" || unit.empty()) scale = 1000;
  if (unit == "m") scale = 60'000;
  if (unit == "h") scale = 3'600'000;
  constexpr int64_t kMost = int64_t{30} * 24 * 3'600'000;
  if (scale == 0 || number > kMost / scale) return std::nullopt;
  return std::chrono::milliseconds(number * scale);
}

}  // namespace sallyport::cli
