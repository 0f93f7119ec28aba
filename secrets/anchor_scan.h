#pragma once

#include <cstddef>
#include <string_view>

namespace sallyport::secrets {

/// Where ANCHOR (never empty) first occurs in TEXT at or after FROM, or npos. Uses SSE2 where the
/// compiler has it (every x86-64), looking at 16 places at once.
size_t FindAnchor(std::string_view text, std::string_view anchor, size_t from);

/// The same with nothing but the C library; FindAnchor elsewhere, and its reference.
size_t FindAnchorPortable(std::string_view text, std::string_view anchor, size_t from);

}  // namespace sallyport::secrets
