#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sallyport::secrets {

/// How a value is spelled in the place it is put into.
enum class Encoding {
  kRaw,          ///< As it is.
  kPathSegment,  ///< Within one segment of a path: '/' as "%2F" (RFC 3986, 3.3).
  kQuery,        ///< Within a name or a value of a query: all but unreserved characters as "%XX".
  kForm,         ///< application/x-www-form-urlencoded: a space as '+'.
  kJson,         ///< Within a JSON string (RFC 8259, 7). The value must be UTF-8.
};

/// How many bytes VALUE takes in ENCODING.
size_t EncodedSize(std::string_view value, Encoding encoding);

/// Appends VALUE in ENCODING. OUT does not move where it has room (see ReserveWiped).
void AppendEncoded(std::string& out, std::string_view value, Encoding encoding);

/// Makes room for MORE bytes in TEXT. Where it must move, what stays behind is wiped, and the new
/// place is on the heap: so a move of the string itself leaves nothing behind.
void ReserveWiped(std::string& text, size_t more);

/// Whether TEXT is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace sallyport::secrets
