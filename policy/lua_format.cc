#include "policy/lua_format.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "policy/diagnostics.h"
#include "policy/load.h"
#include "policy/lua_lexer.h"
#include "policy/lua_state.h"
#include "policy/script_host.h"
#include "policy/lua_spacing.h"

// How a file is formatted:
//
//     ReadLuaTokens -> WithoutLastCommas -> CheckBlocks -> (WithLastCommas -> Print)* -> CheckSame
//
// Tables that hold a newline are broken, into one entry a line. Each printing breaks further ones,
// on lines that are too long, until there is none: at most kMostTables of a line at a time, or all
// of it, and a table lies within at most kMaxDepth others.

namespace sallyport::policy {
namespace {

using Kind = LuaToken::Kind;
using Tokens = std::vector<LuaToken>;

constexpr size_t kColumns = 100;
constexpr size_t kIndent = 2;
constexpr size_t kMaxDepth = 200;  // As Lua's own parser.
constexpr size_t kMostTables = 4;  // On a line, of which only the widest is broken.
constexpr size_t kNone = SIZE_MAX;

tl::unexpected<Error> Wrong(int line, const std::string& what) {
  return sallyport::Fail(Code::kInvalid, "line " + std::to_string(line) + ": " + what);
}

bool IsSeparator(const LuaToken& token) {
  return token.Is(",") || token.Is(";");
}

bool Opens(const LuaToken& token) {
  return IsOneOf(token, {"(", "[", "{", "function", "do", "then", "else", "repeat"});
}
/// `else` and `elseif` end a block, too.
bool Closes(const LuaToken& token) {
  return IsOneOf(token, {")", "]", "}", "end", "until", "else", "elseif"});
}

/// Whether CLOSING ends what OPENING began.
bool Fits(const LuaToken& opening, const LuaToken& closing) {
  if (closing.Is(")")) return opening.Is("(");
  if (closing.Is("]")) return opening.Is("[");
  if (closing.Is("}")) return opening.Is("{");
  if (closing.Is("until")) return opening.Is("repeat");
  if (closing.Is("else") || closing.Is("elseif")) return opening.Is("then");
  return IsOneOf(opening, {"function", "do", "then", "else"});
}

/// That each token that opens something is closed by one that fits.
Status CheckBlocks(const Tokens& tokens) {
  std::vector<size_t> open;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const LuaToken& token = tokens[i];
    if (Closes(token)) {
      if (open.empty() || !Fits(tokens[open.back()], token)) {
        return Wrong(token.line, "'" + std::string(token.text) + "' has nothing that it could end");
      }
      open.pop_back();
    }
    if (Opens(token)) open.push_back(i);
    if (open.size() > kMaxDepth) return Wrong(token.line, "more than 200 blocks within each other");
  }
  if (open.empty()) return {};
  const LuaToken& token = tokens[open.back()];
  return Wrong(token.line, "'" + std::string(token.text) + "' is not ended");
}

/// TOKENS without the separators before the ends of tables.
Tokens WithoutLastCommas(Tokens tokens) {
  Tokens kept;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!IsSeparator(tokens[i]) || !tokens[i + 1].Is("}")) {
      kept.push_back(std::move(tokens[i]));
      continue;
    }
    auto& comments = tokens[i + 1].comments;
    comments.insert(comments.begin(), tokens[i].comments.begin(), tokens[i].comments.end());
    if (comments.empty()) tokens[i + 1].newlines += tokens[i].newlines;
  }
  return kept;
}

/// TOKENS with a comma behind the last entry of each table of BROKEN, which has one bit for each
/// "{".
Tokens WithLastCommas(const Tokens& tokens, const std::vector<bool>& broken) {
  Tokens result;
  std::vector<size_t> open;
  size_t count = 0;
  for (const LuaToken& token : tokens) {
    if (token.Is("{")) open.push_back(count++);
    if (token.Is("}")) {
      if (broken[open.back()] && !result.back().Is("{")) {
        LuaToken comma;
        comma.kind = Kind::kSymbol;
        comma.text = ",";
        result.push_back(comma);
      }
      open.pop_back();
    }
    result.push_back(token);
  }
  return result;
}

/// One bit for each "{" of TOKENS, which match: whether a newline stands before its end.
std::vector<bool> BrokenTables(const Tokens& tokens) {
  std::vector<bool> broken;
  std::vector<size_t> open;
  const auto has_newline = [](std::string_view text) {
    return text.find_first_of("\r\n") != text.npos;
  };
  for (const LuaToken& token : tokens) {
    bool breaks = token.newlines > 0;
    for (const LuaComment& comment : token.comments) {
      breaks = breaks || comment.newlines > 0 || has_newline(comment.text);
    }
    // Before the token, so within what is open; a token's own newlines are within it, too.
    if (token.kind == Kind::kLongString) breaks = breaks || has_newline(token.text);
    if (breaks) {
      for (const size_t table : open) broken[table] = true;
    }
    if (token.Is("}")) open.pop_back();
    if (!token.Is("{")) continue;
    open.push_back(broken.size());
    broken.push_back(false);
  }
  return broken;
}

class Printer {
 public:
  /// Sets further bits of BROKEN where a line is too long.
  Printer(const Tokens& tokens, std::vector<bool>& broken)
      : tokens_(tokens), broken_(broken), spacing_(tokens) {}

  /// Nothing when a table had to be broken, so that all is to be printed again.
  std::optional<std::string> Print() && {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      for (size_t number = 0; number < tokens_[i].comments.size(); ++number)
        PrintComment(i, number);
      PrintToken(i);
    }
    EndLine();
    if (broke_) return std::nullopt;
    return std::move(out_);
  }

 private:
  struct Open {
    size_t token;
    size_t indent;  // Of the statement that it belongs to.
    size_t table;   // Its bit, if it is a table.
  };
  struct Table {
    size_t bit;
    size_t begin;  // In the line.
    size_t end;
  };

  bool InBrokenTable() const {
    return !open_.empty() && tokens_[open_.back().token].Is("{") && broken_[open_.back().table];
  }

  /// How many newlines stand before token I.
  int BreaksBefore(size_t i) const {
    const LuaToken& token = tokens_[i];
    if (i == 0) return token.comments.empty() ? 0 : std::clamp(token.newlines, 0, 2);
    const LuaToken& before = tokens_[i - 1];
    if (!InBrokenTable()) return std::min(token.newlines, 2);
    if (token.Is("}")) return before.Is("{") && token.comments.empty() ? 0 : 1;
    if (before.Is("{")) return 1;
    if (IsSeparator(before)) return std::clamp(token.newlines, 1, 2);
    // Within an entry lines break at operators only: `key =` and its value belong together.
    const bool at_operator =
        (IsLuaOperator(before) && !before.Is("=")) || (IsLuaOperator(token) && !token.Is("="));
    return at_operator ? std::min(token.newlines, 1) : 0;
  }

  void PrintToken(size_t i) {
    const LuaToken& token = tokens_[i];
    if (token.kind == Kind::kEnd) return;
    int breaks = BreaksBefore(i);
    if (after_line_comment_) breaks = std::max(breaks, 1);
    BreakLine(breaks);
    const auto closing = Closes(token) ? Close(i) : std::nullopt;
    if (line_.empty()) {
      indent_ = closing.value_or(IndentOf(i));
    } else if (!token.comments.empty() || spacing_.NeedsSpace(i)) {
      line_ += ' ';
    }
    if (Opens(token)) OpenBlock(i);
    if (IsOneOf(token, {"if", "elseif", "while", "for"})) headers_.push_back(indent_);
    Append(SpelledLikeOthers(token), Piece::kCode);
    if (token.Is("}")) NoteTable();
    after_line_comment_ = false;
  }

  void PrintComment(size_t i, size_t number) {
    const LuaComment& comment = tokens_[i].comments[number];
    int breaks = i == 0 && number == 0 ? 0 : std::min(comment.newlines, 2);
    if (i > 0 && number == 0 && tokens_[i - 1].Is("{")) breaks = std::min(breaks, 1);
    if (after_line_comment_) breaks = std::max(breaks, 1);
    BreakLine(breaks);
    if (line_.empty()) {
      // Before the end of a block it is still within.
      indent_ = Closes(tokens_[i]) ? open_.back().indent + kIndent : IndentOf(i);
    } else {
      line_ += comment.is_long() ? " " : "  ";
    }
    Append(SpelledLikeOthers(comment), Piece::kComment);
    after_line_comment_ = !comment.is_long();
  }

  /// Ends what token I closes. The indentation of a line that it begins.
  std::optional<size_t> Close(size_t i) {
    const Open closed = open_.back();
    open_.pop_back();
    if (tokens_[i].Is("}")) closed_table_ = closed.table;
    size_t indent = closed.indent;
    if (Opens(tokens_[i])) return indent;
    // `end)` stands where the line of the "(" begins.
    size_t depth = open_.size();
    for (size_t next = i + 1; next < tokens_.size() && depth > 0; ++next) {
      const LuaToken& token = tokens_[next];
      if (!IsOneOf(token, {")", "]", "}"}) || token.newlines > 0 || !token.comments.empty()) break;
      const Open& outer = open_[--depth];
      if (token.Is("}") && broken_[outer.table]) break;
      indent = outer.indent;
    }
    return indent;
  }

  void OpenBlock(size_t i) {
    size_t indent = indent_;
    if (IsOneOf(tokens_[i], {"then", "do"}) && !headers_.empty()) {
      indent = headers_.back();
      headers_.pop_back();
    }
    size_t table = kNone;
    if (tokens_[i].Is("{")) {
      table = tables_seen_++;
      starts_.push_back({table, line_.size(), 0});
    }
    open_.push_back({i, indent, table});
  }

  /// The indentation of a line that begins at token I, which closes nothing.
  size_t IndentOf(size_t i) const {
    const size_t indent = open_.empty() ? 0 : open_.back().indent + kIndent;
    if (i == 0) return indent;
    const bool bracket = !open_.empty() && IsOneOf(tokens_[open_.back().token], {"(", "[", "{"});
    const bool goes_on = spacing_.JoinsLines(i) || (!bracket && tokens_[i - 1].Is(","));
    return goes_on ? indent + kIndent : indent;
  }

  enum class Piece { kCode, kComment };
  void Append(const std::string& text, Piece piece) {
    line_ += text;
    whole_ = whole_ && text.find('\n') == text.npos;
    if (piece == Piece::kCode) width_ = line_.size();
  }

  /// The table that has just been closed, if it stands on the line as a whole.
  void NoteTable() {
    while (!starts_.empty() && starts_.back().bit > closed_table_) starts_.pop_back();
    if (starts_.empty() || starts_.back().bit != closed_table_) return;
    Table table = starts_.back();
    starts_.pop_back();
    table.end = line_.size();
    while (!tables_.empty() && tables_.back().begin > table.begin)
      tables_.pop_back();         // Within it.
    constexpr size_t kEmpty = 2;  // "{}"
    if (table.end - table.begin > kEmpty) tables_.push_back(table);
  }

  void BreakLine(int count) {
    if (count == 0) return;
    EndLine();
    if (count > 1 && !out_.empty()) out_ += '\n';
  }

  void EndLine() {
    if (!line_.empty()) {
      if (whole_ && indent_ + width_ > kColumns) BreakTables();
      out_.append(indent_, ' ').append(line_).append(1, '\n');
    }
    line_.clear();
    tables_.clear();
    starts_.clear();
    whole_ = true;
    width_ = 0;
  }

  void BreakTables() {
    if (tables_.empty()) return;
    broke_ = true;
    if (tables_.size() > kMostTables) {
      for (const Table& table : tables_) broken_[table.bit] = true;
      return;
    }
    const auto widest = std::max_element(
        tables_.begin(), tables_.end(),
        [](const Table& a, const Table& b) { return a.end - a.begin < b.end - b.begin; });
    broken_[widest->bit] = true;
  }

  const Tokens& tokens_;
  std::vector<bool>& broken_;
  const LuaSpacing spacing_;

  std::string out_;
  std::string line_;   // Without its indentation.
  size_t indent_ = 0;  // Of the line.
  size_t width_ = 0;   // Of the line's code, without the comment behind it.
  bool whole_ = true;  // No newline within a string or a comment on it.
  bool after_line_comment_ = false;
  bool broke_ = false;

  std::vector<Open> open_;
  std::vector<size_t> headers_;  // Indentation of each `if`, `while`, `for` whose block is to come.
  size_t tables_seen_ = 0;
  size_t closed_table_ = kNone;
  std::vector<Table> starts_;  // Tables that begin on the line and have not ended.
  std::vector<Table> tables_;  // That stand on it as a whole, within no other.
};

std::vector<std::string> CommentsOf(const Tokens& tokens) {
  std::vector<std::string> comments;
  for (const LuaToken& token : tokens) {
    for (const LuaComment& comment : token.comments) comments.push_back(SpelledLikeOthers(comment));
  }
  return comments;
}

/// What FormatLua promises of FORMATTED, but for being as it is once more.
Status CheckSame(const Tokens& before, const std::string& formatted) {
  const auto after = ReadLuaTokens(formatted);
  if (after && SameLuaTokens(before, *after) && CommentsOf(before) == CommentsOf(*after)) return {};
  return sallyport::Fail(Code::kUnsupported,
                         "formatting would change what the file says; it was left as it is");
}

/// Whether Lua takes TEXT; nothing of it is run.
Status CheckSyntax(std::string_view text) {
  LuaState state;
  ScriptError error;
  const auto compile = [text](lua_State* lua) {
    if (luaL_loadbufferx(lua, text.data(), text.size(), kChunkName, "t") != LUA_OK) lua_error(lua);
  };
  if (state.Run(kLoadBudget, error, compile)) return {};
  int line = error.line;
  const std::string why = WithoutPlace(error.message, line);
  return sallyport::Fail(Code::kInvalid, "line " + std::to_string(line) + ": " + Printable(why, 300));
}

Result<std::string> FormatOnce(std::string_view text) {
  auto read = ReadLuaTokens(text);
  if (!read) return tl::unexpected(std::move(read).error());
  if (auto fit = CheckBlocks(*read); !fit) return tl::unexpected(std::move(fit).error());
  const Tokens tokens = WithoutLastCommas(*read);
  std::vector<bool> broken = BrokenTables(*read);
  while (true) {
    const Tokens printed = WithLastCommas(tokens, broken);
    auto formatted = Printer(printed, broken).Print();
    if (!formatted) continue;
    if (auto same = CheckSame(*read, *formatted); !same)
      return tl::unexpected(std::move(same).error());
    return *std::move(formatted);
  }
}

}  // namespace

Result<std::string> FormatLua(std::string_view text) {
  if (text.size() > kMaxPolicyText)
    return sallyport::Fail(Code::kLimit, "the file is longer than 1 MiB");
  auto formatted = FormatOnce(text);
  if (!formatted && formatted.error().code() == Code::kInvalid) return formatted;
  if (auto lua = CheckSyntax(text); !lua) return tl::unexpected(std::move(lua).error());
  if (!formatted) return formatted;
  const auto again = FormatOnce(*formatted);
  if (again && *again == *formatted) return formatted;
  return sallyport::Fail(Code::kUnsupported,
                         "formatting twice is not formatting once; the file was left as it is");
}

}  // namespace sallyport::policy
