#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::policy {

/// TEXT, a policy file, in the one form that all have: two spaces an indent, one space around
/// operators and behind commas, strings in double quotes unless they hold some. A table that stands
/// on one line and fits 100 columns stays there; any other has one entry a line, each with a comma.
/// Lines break where the writer broke them, otherwise; comments and single blank lines stay.
///
/// Formatting twice is formatting once, and Lua reads the same (SameLuaTokens): both are checked
/// here, and an Error if not. kInvalid, with the line, for what is no Lua: strings that don't end,
/// brackets and `end`s that have no partner, more than 200 of them within each other, and whatever
/// Lua doesn't compile. Does no I/O.
Result<std::string> FormatLua(std::string_view text);

}  // namespace sallyport::policy
