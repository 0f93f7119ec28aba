#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "policy/lua_lexer.h"

namespace sallyport::policy {

/// Whether TOKEN is one of these keywords and symbols.
bool IsOneOf(const LuaToken& token, std::initializer_list<std::string_view> words);
/// "+", "and", "=", …; also what stands before one operand only.
bool IsLuaOperator(const LuaToken& token);

/// How a token and a comment are written in a formatted file (lua_format.h).
std::string SpelledLikeOthers(const LuaToken& token);
std::string SpelledLikeOthers(const LuaComment& comment);

/// What stands between the tokens of a line.
class LuaSpacing {
 public:
  /// TOKENS outlive it.
  explicit LuaSpacing(const std::vector<LuaToken>& tokens);

  /// Whether a space stands before token I, which is not the first of its line.
  bool NeedsSpace(size_t i) const;
  /// Whether a line that begins with token I goes on with what is before it.
  bool JoinsLines(size_t i) const;

 private:
  enum class Role : unsigned char { kOther, kUnary, kLabelEnd, kAttribute };

  bool IsUnary(size_t i) const { return roles_[i] == Role::kUnary; }

  const std::vector<LuaToken>& tokens_;
  std::vector<Role> roles_;
};

}  // namespace sallyport::policy
