#include "policy/lua_spacing.h"

namespace sallyport::policy {
namespace {

using Kind = LuaToken::Kind;

/// What a binary operator may follow.
bool IsOperandEnd(const LuaToken& token) {
  switch (token.kind) {
    case Kind::kName:
    case Kind::kNumber:
    case Kind::kString:
    case Kind::kLongString:
      return true;
    default:
      return IsOneOf(token, {")", "]", "}", "end", "nil", "true", "false", "..."});
  }
}

/// What a call, or an index, may follow without a space.
bool IsCallee(const LuaToken& token) {
  return token.kind == Kind::kName || token.kind == Kind::kString ||
         token.kind == Kind::kLongString || IsOneOf(token, {")", "]", "}", "end"});
}

/// Whether A and B directly behind each other would be other tokens, or a comment.
bool WouldMerge(const LuaToken& a, const LuaToken& b) {
  const char x = a.text.back();
  const char y = b.text.front();
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_word = [is_digit](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (is_word(x) && is_word(y)) return true;
  if ((a.kind == Kind::kNumber && y == '.') || (x == '.' && is_digit(y))) return true;
  if (y == '=') return x == '=' || x == '~' || x == '<' || x == '>' || x == '[';
  return x == y && std::string_view(".:</>-[").find(x) != std::string_view::npos;
}

std::string PlainNewlines(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\n' && text[i] != '\r') {
      plain += text[i];
      continue;
    }
    plain += '\n';
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if ((next == '\n' || next == '\r') && next != text[i]) ++i;
  }
  return plain;
}

}  // namespace

bool IsOneOf(const LuaToken& token, std::initializer_list<std::string_view> words) {
  return (token.kind == Kind::kSymbol || token.kind == Kind::kKeyword) &&
         std::find(words.begin(), words.end(), token.text) != words.end();
}

bool IsLuaOperator(const LuaToken& token) {
  return IsOneOf(token, {"+",  "-",  "*",  "/",  "%",  "^", "#", "&", "~",  "|",   "<<", ">>",
                         "//", "==", "~=", "<=", ">=", "<", ">", "=", "..", "and", "or", "not"});
}

std::string SpelledLikeOthers(const LuaToken& token) {
  std::string text = PlainNewlines(token.text);
  if (token.kind == Kind::kString && text.front() == '\'' && text.find('"') == text.npos) {
    text.front() = text.back() = '"';
  }
  return text;
}

std::string SpelledLikeOthers(const LuaComment& comment) {
  std::string text = PlainNewlines(comment.text);
  while (!comment.is_long() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\v' ||
                                text.back() == '\f')) {
    text.pop_back();
  }
  return text;
}

LuaSpacing::LuaSpacing(const std::vector<LuaToken>& tokens)
    : tokens_(tokens), roles_(tokens.size(), Role::kOther) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const LuaToken& token = tokens[i];
    if (IsOneOf(token, {"-", "#", "~", "not"}) && (i == 0 || !IsOperandEnd(tokens[i - 1]))) {
      roles_[i] = Role::kUnary;
    }
    // "::name::"
    if (i >= 2 && token.Is("::") && tokens[i - 1].kind == Kind::kName && tokens[i - 2].Is("::") &&
        roles_[i - 2] != Role::kLabelEnd) {
      roles_[i] = Role::kLabelEnd;
    }
    // `local name <const>`
    if (i >= 2 && token.Is(">") && tokens[i - 2].Is("<") &&
        (tokens[i - 1].text == "const" || tokens[i - 1].text == "close")) {
      roles_[i] = roles_[i - 1] = roles_[i - 2] = Role::kAttribute;
    }
  }
}

bool LuaSpacing::NeedsSpace(size_t i) const {
  const LuaToken& before = tokens_[i - 1];
  const LuaToken& token = tokens_[i];
  if (before.Is("{") || token.Is("}")) return !(before.Is("{") && token.Is("}"));
  if (WouldMerge(before, token)) return true;
  if (IsOneOf(token, {")", "]", ",", ";", ".", ":"}) || IsOneOf(before, {"(", "[", ".", ":"})) {
    return false;
  }
  if (token.Is("::")) return roles_[i] != Role::kLabelEnd;
  if (before.Is("::")) return roles_[i - 1] == Role::kLabelEnd;
  if (roles_[i] == Role::kAttribute) return token.Is("<");
  if (IsUnary(i - 1) && !before.Is("not")) return false;
  if (token.Is("(")) return !IsCallee(before) && !before.Is("function");
  if (token.Is("[")) return !IsCallee(before);
  return true;
}

bool LuaSpacing::JoinsLines(size_t i) const {
  if (i == 0) return false;
  const bool after = IsLuaOperator(tokens_[i - 1]) && roles_[i - 1] != Role::kAttribute;
  const bool at = IsLuaOperator(tokens_[i]) && !IsUnary(i);
  return after || at || tokens_[i].Is(":") || tokens_[i].Is(".");
}

}  // namespace sallyport::policy
