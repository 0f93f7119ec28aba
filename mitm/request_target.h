#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/http_message.h"
#include "mitm/message.h"

namespace sallyport::mitm {

/// Whether TEXT is a method that requests of either version may have, known to anybody or not:
/// capital letters, '-' and '_'. PRI is none.
bool IsMethod(std::string_view text);

/// Sets HEAD's path and query from TARGET, as both protocol versions spell it once scheme and
/// authority are off: "*" with OPTIONS, a path with or without a query, or, when it is empty or
/// begins with '?', the path "/" ("*" for an empty one with OPTIONS: RFC 9112, 3.2.4). HEAD's method
/// is set.
std::optional<ProtocolError> TakeTarget(std::string_view target, RequestHead& head);

/// Whether two spellings of an authority mean the same server.
bool SameAuthority(std::string_view a, std::string_view b, uint16_t default_port);

}  // namespace sallyport::mitm
