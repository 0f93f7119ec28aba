#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/lua_lexer.h"

namespace sallyport::policy {

/// Finds where the fields of tables stand in the text of a file, as Lua forgets their lines: by
/// tokens, without knowing what runs. Nothing is done before the first question.
class FieldLines {
 public:
  /// TEXT outlives this.
  explicit FieldLines(std::string_view text) : text_(text) {}

  /// The line of field PATH.back() of the table that a call at CALL_LINE is given: PATH[0] is a
  /// field of that table, each other one stands somewhere in the value before it. The line of the
  /// last that is found, and CALL_LINE where none is: the table stands elsewhere (in a variable),
  /// or it is not clear which one is meant.
  int Find(int call_line, std::span<const std::string> path);

 private:
  enum class Depth { kTop, kAny };

  bool IsArgument(size_t at, int call_line) const;
  std::vector<size_t> Fields(size_t open, std::string_view name, Depth depth) const;
  size_t Follow(size_t field, std::span<const std::string> path) const;

  std::string_view text_;
  std::optional<std::vector<LuaToken>> tokens_;
};

}  // namespace sallyport::policy
