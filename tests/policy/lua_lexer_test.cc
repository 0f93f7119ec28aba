#include "policy/lua_lexer.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport::policy {
namespace {

using Kind = LuaToken::Kind;

/// The tokens of TEXT, one a word; "?" and why where there are none.
std::string Read(const std::string& text) {
  const auto tokens = ReadLuaTokens(text);
  if (!tokens) return "? " + tokens.error().message();
  std::string words;
  for (const LuaToken& token : *tokens) {
    for (const LuaComment& comment : token.comments) {
      words += comment.is_long() ? "L<" : "C<";
      words.append(comment.text).append("> ");
    }
    static constexpr const char* kKinds = "nknssy$";
    if (token.kind == Kind::kEnd) continue;
    words.append(1, kKinds[static_cast<size_t>(token.kind)])
        .append(":")
        .append(token.text)
        .append(" ");
  }
  return words;
}

TEST_CASE("tokens of every kind are read as Lua does") {
  CHECK(Read("local x = 1") == "k:local n:x y:= n:1 ");
  CHECK(Read("a..b...c") == "n:a y:.. n:b y:... n:c ");
  CHECK(Read("a//b>>1<<2~=c==d<=e>=f::g::") ==
        "n:a y:// n:b y:>> n:1 y:<< n:2 y:~= n:c y:== n:d y:<= n:e y:>= n:f y::: n:g y::: ");
  CHECK(Read("'a' \"b\\\"\" [[c]] [==[d]]]=]e]==]") ==
        "s:'a' s:\"b\\\"\" s:[[c]] s:[==[d]]]=]e]==] ");
  CHECK(Read("x -- c\n--[[d\n]]y--[==[e]]==]") == "n:x C<-- c> L<--[[d\n]]> n:y L<--[==[e]]==]> ");
  CHECK(Read("--[=x\ny") == "C<--[=x> n:y ");
  CHECK(Read("a[ [[x]] ]") == "n:a y:[ s:[[x]] y:] ");
  CHECK(Read("'\\z \n  a' '\\\n' '\\x41\\65\\u{7fffffff}\\065'") ==
        "s:'\\z \n  a' s:'\\\n' s:'\\x41\\65\\u{7fffffff}\\065' ");
}

TEST_CASE("numbers in all their forms") {
  for (const char* number :
       {"3", "345", "0xff", "0xBEBADA", "3.0", "3.1416", "314.16e-2", "0.31416E1", "34e1", "0x0.1E",
        "0xA23p-4", "0X1.921FB54442D18P+1", ".5", "5.", "0x.8", "1e+9"}) {
    INFO(number);
    CHECK(Read(number) == std::string("n:") + number + " ");
  }
  for (const char* number :
       {"3x", "0x", "1e", "1e+", "3..2", "1.2.3", "0xg", "12abc", "1e5.2", "0x1p", "1__2"}) {
    INFO(number);
    CHECK(Read(number).starts_with("? line 1: malformed number"));
  }
}

TEST_CASE("what Lua's lexer refuses is refused with its line") {
  CHECK(Read("\n'a") == "? line 2: a string that does not end on its line");
  CHECK(Read("'a\n'") == "? line 1: a string that does not end on its line");
  CHECK(Read("x = '\\q'") == "? line 1: a string has an escape that Lua does not know");
  for (const char* text : {"'\\256'", "'\\xg1'", "'\\u{}'", "'\\u{80000000}'", "'\\u12'"}) {
    INFO(text);
    CHECK(Read(text).starts_with("? line 1: a string has an escape"));
  }
  CHECK(Read("\n[==[ x ]=]") == "? line 2: a long string that does not end");
  CHECK(Read("--[[ x") == "? line 1: a long comment that does not end");
  CHECK(Read("a\n@") == "? line 2: unexpected symbol '@'");
  CHECK(Read("\xEF\xBB\xBFx").starts_with("? line 1: unexpected symbol"));
  CHECK(Read("a = [=x").starts_with("n:a y:= y:[ y:= n:x"));
}

TEST_CASE("every token knows its line and the newlines before it, whatever form they have") {
  const auto tokens = ReadLuaTokens("a\r\nb\n\rc\rd\n\n\n-- x\n\ne");
  REQUIRE(tokens);
  REQUIRE(tokens->size() == 6);
  CHECK((*tokens)[1].line == 2);
  CHECK((*tokens)[3].line == 4);
  CHECK((*tokens)[3].newlines == 1);
  CHECK((*tokens)[4].comments.front().newlines == 3);
  CHECK((*tokens)[4].newlines == 2);
  CHECK((*tokens)[4].line == 9);
}

TEST_CASE("tokens are compared as Lua would read them") {
  const auto same = [](const char* a, const char* b) {
    const auto left = ReadLuaTokens(a);
    const auto right = ReadLuaTokens(b);
    REQUIRE((left && right));
    return SameLuaTokens(*left, *right);
  };
  CHECK(same("x = 'a'", "x=\"a\" -- c"));
  CHECK(same("{1,}", "{1}"));
  CHECK(same("{1;}", "{1,}"));
  CHECK(same("[[a\r\nb]]", "[[a\nb]]"));
  CHECK_FALSE(same("{1,2}", "{1;2}"));
  CHECK_FALSE(same("x = 'a'", "x = 'b'"));
  CHECK_FALSE(same("x = 1", "x = 1.0"));
  CHECK_FALSE(same("a b", "ab"));
  CHECK_FALSE(same("a", "a b"));
  CHECK_FALSE(same("f(1,)", "f(1)"));
}

}  // namespace
}  // namespace sallyport::policy
