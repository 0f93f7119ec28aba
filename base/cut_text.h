#pragma once

#include <cstddef>
#include <string_view>

namespace sallyport {

/// The front of TEXT, at most MOST bytes, without the beginning of a character that UTF-8 goes on with
/// behind it. Of bytes that are no UTF-8 three more at most are missing.
inline std::string_view CutText(std::string_view text, size_t most) {
  if (text.size() <= most) return text;
  constexpr size_t kMostContinued = 3;  // RFC 3629: a character has four bytes.
  size_t end = most;
  while (end > 0 && most - end < kMostContinued && (text[end] & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace sallyport
