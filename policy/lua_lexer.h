#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace sallyport::policy {

/// A comment of Lua: "-- …" to the end of its line, or "--[[ … ]]".
struct LuaComment {
  std::string_view text;  ///< Without the newline behind it.
  int newlines = 0;       ///< Between what stands before it and it.
  bool is_long() const;
};

/// A token of Lua 5.4, as it stands in the text, with what stands before it.
struct LuaToken {
  enum class Kind { kName, kKeyword, kNumber, kString, kLongString, kSymbol, kEnd };
  Kind kind = Kind::kEnd;
  std::string_view text;  ///< Points into the text that was read; empty for kEnd.
  int line = 0;           ///< From 1.
  std::vector<LuaComment> comments;
  int newlines = 0;  ///< Between the last comment, or the token before it, and it.

  bool Is(std::string_view symbol) const {
    return (kind == Kind::kSymbol || kind == Kind::kKeyword) && text == symbol;
  }
};

/// The tokens of TEXT, which outlives them; the last is kEnd and has the comments at the end. Knows
/// tokens, not grammar. kInvalid, with the line, for what Lua's own lexer refuses.
Result<std::vector<LuaToken>> ReadLuaTokens(std::string_view text);

/// Whether A and B are the same to Lua: the same tokens, but for the quotes of strings, how lines
/// end in long ones, and a separator before the end of a table.
bool SameLuaTokens(const std::vector<LuaToken>& a, const std::vector<LuaToken>& b);

}  // namespace sallyport::policy
