#include "policy/field_lines.h"

#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

// The lines of all diagnostics of TEXT, which begins on line 1.
std::vector<int> LinesOf(const std::string& text) {
  std::vector<int> lines;
  for (const Diagnostic& diagnostic : Load(text).diagnostics) lines.push_back(diagnostic.line);
  return lines;
}

TEST_CASE("a mistake in a field is reported where the field stands") {
  struct Row {
    const char* what;
    const char* text;
    std::vector<int> lines;
  };
  const Row rows[] = {
      {"a field of a wrong type", "allow.tcp {\n host = 'a.example',\n port = 'x',\n}", {3}},
      {"an unknown field", "allow.tcp {\n host = 'a.example',\n prot = 1\n}", {3}},
      {"two of them",
       "allow.tcp {\n hots = 'a.example',\n host = 'b.example',\n prot = 1\n}",
       {2, 4}},
      {"a field in brackets", "allow.tcp {\n host = 'a.example',\n ['port'] = 'x' }", {3}},
      {"a table in brackets", "allow.tcp(\n{ host = 'a.example',\n port = 'x' })", {3}},
      {"a missing field", "allow.tcp {\n port = 22\n}", {1}},
      {"a field on the line of the call", "\nallow.tcp { host = 'a.example', port = 'x' }", {2}},
      {"its name in a string and in comments before it",
       "allow.tcp {\n host = 'a.example', -- port = 1\n name = [[\n port = 2]],\n"
       " --[[ port = 3\n]] port = 'x' }",
       {6}},
      {"its name in a table before it",
       "allow.http {\n header = { port = 'a' },\n host = 'a.example',\n port = 'x' }",
       {4}},
      {"its name as a value, and as a call's argument",
       "local port = 'x'\nallow.tcp {\n host = tostring(port) .. '.example',\n port = port }",
       {4}},
      {"a function before it",
       "allow.tcp {\n host = (function() local a\n local b, port = 1, 2\n return 'a.example' "
       "end)(),\n"
       " port = 'x' }",
       {5}},
      {"several rules on a line",
       "allow.tcp { host = 'a.example' } deny.tcp {\n host = 'b.example',\n port = 'x' }",
       {3}},
      {"several on a line, and both have the field",
       "allow.tcp { host = 'a.example', port = 1 } deny.tcp {\n host = 'b.example',\n port = 'x' }",
       {1}},
      {"the same field twice", "allow.tcp {\n host = 'a.example',\n port = 1,\n port = 'x' }", {4}},
      {"a table in a variable",
       "local t = {\n host = 'a.example',\n port = 'x' }\nallow.tcp(t)",
       {4}},
      {"a rule in a function",
       "local function rule(t)\n allow.tcp(t)\nend\nrule {\n host = 'a.example',\n port = 'x' }",
       {2}},
      {"a nested field",
       "allow.tcp {\n host = 'a.example',\n port = {\n from = 1,\n to = 'x' } }",
       {5}},
      {"a nested field in a list",
       "allow.tcp {\n host = 'a.example',\n port = { 1,\n { from = 1,\n to = 'x' } } }",
       {5}},
      {"a nested field that two tables have: the one that has them",
       "sandbox {\n mounts = {\n { './a', '/a', mode = 'x' },\n { './b', '/b', mode = 'ro' } } }",
       {2}},
      {"a nested table without its fields",
       "allow.tcp {\n host = 'a.example',\n port = { from = 1 } }",
       {3}},
      {"a secret's field",
       "allow.http { host = 'a.example' }\nsecret 'A' {\n from = env 'A',\n hosts = 'a.example',\n"
       " scrubb = false }",
       {5}},
      {"a warning", "allow.tcp {\n host = 'a.example',\n port = { 8000, 8010 } }", {3}},
      {"a rule of a preset", "use 'npm'\nallow.tcp {\n host = 'a.example',\n port = 'x' }", {4}},
  };
  for (const Row& row : rows) {
    INFO(row.what << "\n" << Diagnose(row.text));
    CHECK(LinesOf(row.text) == row.lines);
  }
}

TEST_CASE("lines count from the file's first, whatever stands before the program") {
  CHECK(LinesOf("#!/usr/bin/env sandboxctl\nallow.tcp {\n host = 'a.example',\n port = 'x' }") ==
        std::vector<int>{4});
}

TEST_CASE("text that is no Lua has no fields") {
  for (const char* text :
       {"", "'", "allow.tcp {", "f { port = ", "f { port", "f { ['port'", "{", "f("}) {
    INFO(text);
    FieldLines lines(text);
    const std::vector<std::string> path = {"port", "from"};
    CHECK(lines.Find(1, path) == 1);
    CHECK(lines.Find(9, path) == 9);
  }
}

}  // namespace
}  // namespace sallyport::policy
