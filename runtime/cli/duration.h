#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace sallyport::cli {

/// "500ms", "30s", "5m", "2h"; a bare number is seconds. At least one millisecond, at most 30 days.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

}  // namespace sallyport::cli
