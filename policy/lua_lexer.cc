#include "policy/lua_lexer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "policy/diagnostics.h"

namespace sallyport::policy {
namespace {

using Kind = LuaToken::Kind;

constexpr std::array<std::string_view, 22> kKeywords = {
    "and",      "break",  "do",   "else", "elseif", "end",  "false", "for",
    "function", "goto",   "if",   "in",   "local",  "nil",  "not",   "or",
    "repeat",   "return", "then", "true", "until",  "while"};
// The longer ones first: the first that fits is taken.
constexpr std::array<std::string_view, 33> kSymbols = {
    "...", "<<", ">>", "//", "==", "~=", "<=", ">=", "::", "..", "+", "-", "*", "/", "%", "^", "#",
    "&",   "~",  "|",  "<",  ">",  "=",  "(",  ")",  "{",  "}",  "[", "]", ";", ":", ",", "."};

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsHexDigit(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool IsNamePart(char c) {
  return IsNameStart(c) || IsDigit(c);
}
bool IsNewline(char c) {
  return c == '\n' || c == '\r';
}
bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

/// "=" signs of the long bracket at the front of TEXT ("[==["), or nothing.
std::optional<size_t> LongBracket(std::string_view text) {
  if (!text.starts_with('[')) return std::nullopt;
  size_t level = 0;
  while (1 + level < text.size() && text[1 + level] == '=') ++level;
  if (1 + level >= text.size() || text[1 + level] != '[') return std::nullopt;
  return level;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<LuaToken>> Run() {
    std::vector<LuaToken> tokens;
    while (true) {
      LuaToken token;
      if (auto skipped = Skip(token); !skipped) return tl::unexpected(std::move(skipped).error());
      token.line = line_;
      const size_t begin = at_;
      const auto kind = Next();
      if (!kind) return tl::unexpected(kind.error());
      token.kind = *kind;
      token.text = text_.substr(begin, at_ - begin);
      tokens.push_back(std::move(token));
      if (*kind == Kind::kEnd) return tokens;
    }
  }

 private:
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool AtEnd() const { return at_ >= text_.size(); }
  std::string_view Rest() const { return text_.substr(at_); }
  tl::unexpected<Error> Wrong(int line, const std::string& what) const {
    return sallyport::Fail(Code::kInvalid, "line " + std::to_string(line) + ": " + what);
  }

  /// Past a newline in any of its forms.
  void SkipNewline() {
    const char first = text_[at_++];
    if (!AtEnd() && IsNewline(Peek()) && Peek() != first) ++at_;
    ++line_;
  }

  /// Past blanks and comments, which TOKEN gets.
  Status Skip(LuaToken& token) {
    while (!AtEnd()) {
      if (IsNewline(Peek())) {
        SkipNewline();
        ++token.newlines;
      } else if (IsBlank(Peek())) {
        ++at_;
      } else if (Rest().starts_with("--")) {
        if (auto read = ReadComment(token); !read) return read;
      } else {
        break;
      }
    }
    return {};
  }

  Status ReadComment(LuaToken& token) {
    const size_t begin = at_;
    at_ += 2;
    if (const auto level = LongBracket(Rest())) {
      if (auto read = ReadLong(*level, "comment"); !read) return read;
    } else {
      while (!AtEnd() && !IsNewline(Peek())) ++at_;
    }
    std::string_view text = text_.substr(begin, at_ - begin);
    token.comments.push_back({text, std::exchange(token.newlines, 0)});
    return {};
  }

  Status ReadLong(size_t level, const char* what) {
    const int began = line_;
    at_ += level + 2;
    const std::string closing = "]" + std::string(level, '=') + "]";
    while (!AtEnd()) {
      if (Peek() == ']' && Rest().starts_with(closing)) {
        at_ += closing.size();
        return {};
      }
      if (IsNewline(Peek())) {
        SkipNewline();
      } else {
        ++at_;
      }
    }
    return Wrong(began, std::string("a long ") + what + " that does not end");
  }

  Result<Kind> Next() {
    if (AtEnd()) return Kind::kEnd;
    const char c = Peek();
    if (IsNameStart(c)) return ReadName();
    if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) return ReadNumber();
    if (c == '"' || c == '\'') return ReadString();
    if (const auto level = LongBracket(Rest())) {
      if (auto read = ReadLong(*level, "string"); !read)
        return tl::unexpected(std::move(read).error());
      return Kind::kLongString;
    }
    for (const std::string_view symbol : kSymbols) {
      if (!Rest().starts_with(symbol)) continue;
      at_ += symbol.size();
      return Kind::kSymbol;
    }
    return Wrong(line_, "unexpected symbol '" + Printable(Rest().substr(0, 1)) + "'");
  }

  Kind ReadName() {
    const size_t begin = at_;
    while (!AtEnd() && IsNamePart(Peek())) ++at_;
    const auto name = text_.substr(begin, at_ - begin);
    const bool keyword = std::find(kKeywords.begin(), kKeywords.end(), name) != kKeywords.end();
    return keyword ? Kind::kKeyword : Kind::kName;
  }

  /// As far as Lua reads, and then as strictly.
  Result<Kind> ReadNumber() {
    const size_t begin = at_;
    const bool hex = Peek() == '0' && (Peek(1) == 'x' || Peek(1) == 'X');
    if (hex) at_ += 2;
    const char exponent = hex ? 'p' : 'e';
    size_t digits = 0;
    size_t dots = 0;
    bool right = true;
    while (!AtEnd() && (IsNamePart(Peek()) || Peek() == '.')) {
      const char c = text_[at_++];
      if ((c | 0x20) == exponent) {
        if (Peek() == '+' || Peek() == '-') ++at_;
        right = right && IsDigit(Peek());
        while (!AtEnd() && IsDigit(Peek())) ++at_;
        right = right && !IsNamePart(Peek()) && Peek() != '.';
        continue;
      }
      if (c == '.') {
        ++dots;
      } else {
        right = right && (hex ? IsHexDigit(c) : IsDigit(c));
        ++digits;
      }
    }
    if (right && digits > 0 && dots <= 1) return Kind::kNumber;
    return Wrong(line_,
                 "malformed number '" + Printable(text_.substr(begin, at_ - begin), 40) + "'");
  }

  Result<Kind> ReadString() {
    const int began = line_;
    const char quote = text_[at_++];
    while (!AtEnd()) {
      const char c = Peek();
      if (c == quote) {
        ++at_;
        return Kind::kString;
      }
      if (IsNewline(c)) break;
      ++at_;
      if (c == '\\' && !ReadEscape())
        return Wrong(line_, "a string has an escape that Lua does not know");
    }
    return Wrong(began, "a string that does not end on its line");
  }

  /// What follows a backslash.
  bool ReadEscape() {
    if (AtEnd()) return true;  // The string does not end, which is said then.
    if (IsNewline(Peek())) {
      SkipNewline();
      return true;
    }
    const char c = text_[at_++];
    if (c == 'z') {
      while (!AtEnd() && (IsNewline(Peek()) || IsBlank(Peek()))) {
        if (IsNewline(Peek())) {
          SkipNewline();
        } else {
          ++at_;
        }
      }
      return true;
    }
    if (c == 'x') {
      if (!IsHexDigit(Peek()) || !IsHexDigit(Peek(1))) return false;
      at_ += 2;
      return true;
    }
    if (c == 'u') return ReadUnicode();
    if (!IsDigit(c)) return std::string_view("abfnrtv\\\"'").find(c) != std::string_view::npos;
    int value = c - '0';
    for (int i = 0; i < 2 && IsDigit(Peek()); ++i) value = value * 10 + (text_[at_++] - '0');
    return value <= 255;
  }

  /// "{1F600}": hexadecimal digits, up to 2^31.
  bool ReadUnicode() {
    if (Peek() != '{') return false;
    ++at_;
    size_t digits = 0;
    uint64_t value = 0;
    for (; IsHexDigit(Peek()); ++at_, ++digits) {
      const char c = Peek();
      value = value * 16 + static_cast<uint64_t>(IsDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
      if (value >= (uint64_t{1} << 31)) return false;
    }
    if (digits == 0 || Peek() != '}') return false;
    ++at_;
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

/// TEXT with each newline as "\n", whatever its form.
std::string WithPlainNewlines(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsNewline(text[i])) {
      plain += text[i];
      continue;
    }
    plain += '\n';
    if (i + 1 < text.size() && IsNewline(text[i + 1]) && text[i + 1] != text[i]) ++i;
  }
  return plain;
}

bool SameToken(const LuaToken& a, const LuaToken& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == Kind::kLongString || a.kind == Kind::kString) {
    // Between the quotes; those of short strings may differ, the brackets of long ones may not.
    const size_t edge = a.kind == Kind::kString ? 1 : 0;
    const auto inner = [edge](std::string_view text) {
      return WithPlainNewlines(text.substr(edge, text.size() - 2 * edge));
    };
    return inner(a.text) == inner(b.text);
  }
  return a.text == b.text;
}

bool EndsTable(const std::vector<LuaToken>& tokens, size_t at) {
  return (tokens[at].Is(",") || tokens[at].Is(";")) && at + 1 < tokens.size() &&
         tokens[at + 1].Is("}");
}

}  // namespace

bool LuaComment::is_long() const {
  return LongBracket(text.substr(std::min<size_t>(2, text.size()))).has_value();
}

Result<std::vector<LuaToken>> ReadLuaTokens(std::string_view text) {
  return Lexer(text).Run();
}

bool SameLuaTokens(const std::vector<LuaToken>& a, const std::vector<LuaToken>& b) {
  size_t i = 0;
  size_t j = 0;
  while (true) {
    if (i < a.size() && EndsTable(a, i)) ++i;
    if (j < b.size() && EndsTable(b, j)) ++j;
    if (i == a.size() || j == b.size()) return i == a.size() && j == b.size();
    if (!SameToken(a[i++], b[j++])) return false;
  }
}

}  // namespace sallyport::policy
