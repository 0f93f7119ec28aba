#include "policy/field_lines.h"

#include <algorithm>
#include <utility>

namespace sallyport::policy {
namespace {

using Kind = LuaToken::Kind;

// +1 for what opens a bracket or a block, -1 for what ends one. (`while` and `for` have a `do`.)
int Nesting(const LuaToken& token) {
  for (const std::string_view opens : {"{", "(", "[", "function", "do", "if", "repeat"}) {
    if (token.Is(opens)) return 1;
  }
  for (const std::string_view ends : {"}", ")", "]", "end", "until"}) {
    if (token.Is(ends)) return -1;
  }
  return 0;
}

// Whether a table behind TOKEN is the argument of a call.
bool EndsCallee(const LuaToken& token) {
  return token.kind == Kind::kName || token.kind == Kind::kString ||
         token.kind == Kind::kLongString || token.Is(")") || token.Is("]") || token.Is("}");
}

bool IsQuoted(std::string_view string, std::string_view name) {
  return string.size() == name.size() + 2 && string.substr(1, name.size()) == name;
}

}  // namespace

// Whether the token AT opens a table that is what a call at CALL_LINE is given first: `f {`, `f({`.
bool FieldLines::IsArgument(size_t at, int call_line) const {
  const auto& tokens = *tokens_;
  if (at < 1 || !tokens[at].Is("{")) return false;
  if (tokens[at - 1].Is("(")) {
    return at >= 2 && EndsCallee(tokens[at - 2]) && tokens[at - 1].line == call_line;
  }
  return EndsCallee(tokens[at - 1]) && tokens[at].line == call_line;
}

// Where `NAME =` and `["NAME"] =` stand within the bracket that OPEN opens, or, for kTop, right in
// it.
std::vector<size_t> FieldLines::Fields(size_t open, std::string_view name, Depth depth) const {
  const auto& tokens = *tokens_;
  std::vector<size_t> found;
  int nesting = 0;
  for (size_t at = open; at + 1 < tokens.size(); ++at) {
    if (nesting == 1 || (depth == Depth::kAny && nesting > 1)) {
      const LuaToken& before = tokens[at - 1];
      const bool begins = before.Is("{") || before.Is(",") || before.Is(";");
      const bool plain =
          tokens[at].kind == Kind::kName && tokens[at].text == name && tokens[at + 1].Is("=");
      const bool quoted = tokens[at].Is("[") && at + 3 < tokens.size() &&
                          IsQuoted(tokens[at + 1].text, name) && tokens[at + 3].Is("=");
      if (begins && (plain || quoted)) found.push_back(at);
    }
    nesting += Nesting(tokens[at]);
    if (nesting <= 0) break;
  }
  return found;
}

// Where the last of PATH stands that is found once, each in the value of the one before; the first
// is FIELD.
size_t FieldLines::Follow(size_t field, std::span<const std::string> path) const {
  for (const std::string& name : path) {
    size_t value = field;
    while (!(*tokens_)[value].Is("=")) ++value;
    if (!(*tokens_)[++value].Is("{")) break;
    const auto found = Fields(value, name, Depth::kAny);
    if (found.size() != 1) break;
    field = found.front();
  }
  return field;
}

int FieldLines::Find(int call_line, std::span<const std::string> path) {
  if (!tokens_) {
    auto read = ReadLuaTokens(text_);
    tokens_ = read ? *std::move(read) : std::vector<LuaToken>();
  }
  const auto before = [](const LuaToken& token, int line) { return token.line < line; };
  const auto first = std::lower_bound(tokens_->begin(), tokens_->end(), call_line, before);
  std::optional<size_t> found;
  // A table behind a bracket may open on a later line, with nothing between.
  const auto begin = static_cast<size_t>(first - tokens_->begin());
  for (size_t at = std::max<size_t>(begin, 1); at < tokens_->size(); ++at) {
    if ((*tokens_)[at - 1].line > call_line) break;
    if (!IsArgument(at, call_line)) continue;
    const auto fields = Fields(at, path.front(), Depth::kTop);
    if (fields.empty()) continue;
    if (found) return call_line;  // Several on the line.
    found = fields.back();        // The last of them is what Lua keeps.
  }
  return found ? (*tokens_)[Follow(*found, path.subspan(1))].line : call_line;
}

}  // namespace sallyport::policy
