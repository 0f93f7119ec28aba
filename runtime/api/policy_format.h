#pragma once

#include <string>

#include "base/result.h"

namespace sallyport {

/// Whether a file that is not as `policy fmt` has it is to be replaced.
enum class FormatMode { kWrite, kCheck };

/// Formats policy FILE (policy/lua_format.h); true when it was not as it should be. With kWrite it
/// is then replaced as a whole (ReplacedFile), where a symbolic link leads. kInvalid, with the
/// line, for what is no Lua; nothing is written then.
Result<bool> FormatPolicy(const std::string& file, FormatMode mode);

}  // namespace sallyport
