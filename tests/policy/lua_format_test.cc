#include "policy/lua_format.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <vector>

#include "policy/lua_lexer.h"

namespace sallyport::policy {
namespace {

std::string Format(const std::string& text) {
  const auto formatted = FormatLua(text);
  return formatted ? *formatted : "? " + formatted.error().message();
}

TEST_CASE("spaces, quotes, newlines and indentation are those of all files") {
  struct Row {
    const char* text;
    const char* formatted;
  };
  const std::vector<Row> rows = {
      {"", ""},
      {"\n\n", ""},
      {"use'npm'", "use \"npm\"\n"},
      {"use  'say \"x\"'\n", "use 'say \"x\"'\n"},
      {"local   x<const> =1+2 *-3", "local x <const> = 1 + 2 * -3\n"},
      {"x = a  ..b..'c' ", "x = a .. b .. \"c\"\n"},
      {"x=- - 1 y = not   a z=#t w = ~ ~1", "x = - -1 y = not a z = #t w = ~~1\n"},
      {"f ( a ,b ) : g ( 1 ) [1] . h { 1 }", "f(a, b):g(1)[1].h { 1 }\n"},
      {"t={ ['a']=1 ;b=2, } t[ [[x]] ]=1", "t = { [\"a\"] = 1; b = 2 } t[ [[x]]] = 1\n"},
      {"f{ }", "f {}\n"},
      {"goto x ::x::", "goto x ::x::\n"},
      {"return(a)and(b)", "return (a) and (b)\n"},
      {"f\"x\" f[[x]] (g)(h)", "f \"x\" f [[x]](g)(h)\n"},
      {"a()\r\nb()\r\n\r\n\r\nc()   \r\n", "a()\nb()\n\nc()\n"},
      {"-- one  \n\n\n\n--two\na() -- three\t\n-- four",
       "-- one\n\n--two\na()  -- three\n-- four\n"},
      {"a() --[[x]] b()", "a() --[[x]] b()\n"},
      {"if a then\nb()\nelseif c then\n      d()\nelse\ne()\nend",
       "if a then\n  b()\nelseif c then\n  d()\nelse\n  e()\nend\n"},
      {"for i=1,2 do f(i) end", "for i = 1, 2 do f(i) end\n"},
      {"repeat\nf()\nuntil x", "repeat\n  f()\nuntil x\n"},
      {"while a and\nb do\nf()\nend", "while a and\n  b do\n  f()\nend\n"},
      {"on.request('a',function(req)\nif x then return end\n-- last\nend)",
       "on.request(\"a\", function(req)\n  if x then return end\n  -- last\nend)\n"},
      {"f(\na,\nb\n)", "f(\n  a,\n  b\n)\n"},
      {"local s = [[\n  kept\n   as it is ]]\nx()", "local s = [[\n  kept\n   as it is ]]\nx()\n"},
      {"expect(x)\n:denied 'y'", "expect(x)\n  :denied \"y\"\n"},
      {"local a =\n1", "local a =\n  1\n"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(Format(row.text) == row.formatted);
  }
}

TEST_CASE("a table stays on its line where it fits, and has an entry a line otherwise") {
  CHECK(Format("allow.http {host='a.example',method={'GET','HEAD'},}") ==
        "allow.http { host = \"a.example\", method = { \"GET\", \"HEAD\" } }\n");
  CHECK(Format("allow.http { host = 'a.example', path = { '/a', '/b' },\n             otherwise = "
               "'no' }") ==
        "allow.http {\n  host = \"a.example\",\n  path = { \"/a\", \"/b\" },\n  otherwise = "
        "\"no\",\n}\n");
  CHECK(Format("allow.http {\n}") == "allow.http {}\n");
  CHECK(Format("f({\na=1}, {\nb=2})") == "f({\n  a = 1,\n}, {\n  b = 2,\n})\n");
  // Too long: the widest table of the line, then what is within it.
  const std::string path = "\"/" + std::string(30, 'p') + "\"";
  const std::string paths = path + ", " + path + ", " + path;
  CHECK(Format("allow.http { host = 'a', path = { " + paths + " } }") ==
        "allow.http {\n  host = \"a\",\n  path = {\n    " + path + ",\n    " + path + ",\n    " +
            path + ",\n  },\n}\n");
  // A comment behind it does not count.
  CHECK(Format("f { 1 } -- " + std::string(120, 'c')) ==
        "f { 1 }  -- " + std::string(120, 'c') + "\n");
  // What can't be broken stays.
  const std::string word = "f(\"" + std::string(120, 'w') + "\", {})\n";
  CHECK(Format(word) == word);
}

TEST_CASE("comments and blank lines in tables stay where they are") {
  CHECK(
      Format("t = {\n  -- first\n  a = 1, -- of a\n\n\n  -- of b\n  b = 2 -- last\n  -- end\n}") ==
      "t = {\n  -- first\n  a = 1,  -- of a\n\n  -- of b\n  b = 2,  -- last\n  -- end\n}\n");
  CHECK(Format("t = { -- here\n}") == "t = {  -- here\n}\n");
  CHECK(Format("t = {\n\na = 1\n\n}") == "t = {\n  a = 1,\n}\n");
  CHECK(Format("t = { a = --[[x]] 1 }") == "t = { a = --[[x]] 1 }\n");
  CHECK(Format("t = { a -- x\n, b }") == "t = {\n  a  -- x\n  ,\n  b,\n}\n");
  CHECK(Format("t = {\nf = function()\nreturn 1\nend,\nr = 'a' ..\n'b' }") ==
        "t = {\n  f = function()\n    return 1\n  end,\n  r = \"a\" ..\n    \"b\",\n}\n");
}

TEST_CASE("what is no Lua is refused with its line") {
  CHECK(Format("f(\n]") == "? line 2: ']' has nothing that it could end");
  CHECK(Format("\nf(") == "? line 2: '(' is not ended");
  CHECK(Format("if x then else elseif y then end").starts_with("? line 1: 'elseif'"));
  CHECK(Format("repeat end").starts_with("? line 1: 'end'"));
  CHECK(Format("x = 'a").starts_with("? line 1: a string"));
  CHECK(Format("x = 1\ny =").starts_with("? line 2: unexpected symbol near"));
  CHECK(Format("allow http").starts_with("? line 1: syntax error near"));
  CHECK(Format("x = { 1, ,}").starts_with("? line 1: unexpected symbol near ','"));
  CHECK(Format(std::string(300, '(')).starts_with("? line 1: more than 200"));
  CHECK(Format(std::string((size_t{1} << 20) + 1, ' ')).starts_with("? the file is longer"));
}

std::vector<std::filesystem::path> PolicyFiles() {
  std::vector<std::filesystem::path> files;
  const std::filesystem::path root(SALLYPORT_SOURCE_DIR);
  for (const char* folder : {"examples", "policy/presets", "policy/profiles", "editors",
                             "tests/fuzz/corpus/policy_load"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const bool corpus = std::string(folder).ends_with("policy_load");
      if (entry.is_regular_file() && (corpus || entry.path().extension() == ".lua"))
        files.push_back(entry.path());
    }
  }
  return files;
}

std::string Contents(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

TEST_CASE("examples, presets and profiles are as the formatter has them") {
  size_t count = 0;
  for (const auto& file : PolicyFiles()) {
    const std::string folder = file.parent_path().string();
    if (folder.find("corpus") != folder.npos || folder.ends_with("editors")) continue;
    ++count;
    INFO("sandboxctl policy fmt " << file);
    CHECK(Format(Contents(file)) == Contents(file));
  }
  CHECK(count >= 20);
}

/// Whatever can be formatted means the same, and stays as it is; FormatLua checks it, too.
void CheckFormatted(const std::string& text) {
  const auto before = ReadLuaTokens(text);
  const auto formatted = FormatLua(text);
  if (!formatted) {
    INFO(text << "\n" << formatted.error().message());
    CHECK(formatted.error().code() == Code::kInvalid);
    return;
  }
  INFO(text << "\n---\n" << *formatted);
  const auto after = ReadLuaTokens(*formatted);
  REQUIRE((before && after));
  CHECK(SameLuaTokens(*before, *after));
  CHECK(Format(*formatted) == *formatted);
  CHECK(formatted->find('\r') == std::string::npos);
  CHECK((formatted->empty() || formatted->back() == '\n'));
}

TEST_CASE("whatever the writer broke or did not break, formatting keeps what Lua reads") {
  std::mt19937 random(11);
  for (const auto& file : PolicyFiles()) {
    const std::string text = Contents(file);
    CheckFormatted(text);
    const auto tokens = ReadLuaTokens(text);
    if (!tokens) continue;
    for (int round = 0; round < 20; ++round) {
      // The same tokens with other blanks between them.
      std::string other;
      for (const LuaToken& token : *tokens) {
        for (const LuaComment& comment : token.comments) other.append(comment.text).append("\n");
        static constexpr const char* kBlanks[] = {" ",         " ",       "\n", "\r\n\r\n\n",
                                                  " --[[c]] ", " -- c\n", "\t"};
        other.append(token.text).append(kBlanks[random() % std::size(kBlanks)]);
      }
      CheckFormatted(other);
    }
  }
}

TEST_CASE("any tokens that match are formatted, in any order") {
  std::mt19937 random(12);
  const std::vector<const char*> words = {
      "a",     "1",   "'s'",   "[[l\nl]]", "=",        ",",    ";",     "(",    ")",
      "{",     "}",   "[",     "]",        "function", "end",  "if",    "then", "else",
      "-",     "not", "#",     "..",       "...",      ".",    ":",     "::",   "<",
      "const", ">",   "--c\n", "--[[c]]",  "\n",       "\n\n", "local", "~"};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t left = random() % 12; left > 0; --left) {
      text.append(words[random() % words.size()]).append(" ");
    }
    CheckFormatted(text);
  }
}

}  // namespace
}  // namespace sallyport::policy
