#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

TEST_CASE(
    "a declaration that is assigned instead of called is an error that says how to write it") {
  CheckMistakes({
      {"sandbox = { network = false }",
       "policy.lua:1: error: sandbox is called, not assigned: write sandbox { ... }"},
      {"dns = { unlisted = 'nxdomain' }", "write dns { ... }"},
      {"use = 'npm'", "use is called, not assigned: write use \"npm\""},
      {"secret = function() return function() end end", "write secret \"NAME\" { ... }"},
      {"allow.http = { host = 'a.example' }",
       "allow.http is called, not assigned: write allow.http { ... }"},
      {"\nallow.htpp = { host = 'a.example' }",
       "policy.lua:2: error: allow.htpp can't be assigned"},
      {"allow.htpp = {}", "did you mean 'http'?"},
      {"on.request = function() end", "write on.request("},
      {"on.conect = function() end", "did you mean 'connect'?"},
      {"deny = nil", "deny is called, not assigned: write deny.http { ... }"},
      {"_G.allow = nil", "allow is called, not assigned"},
      {"_G['al' .. 'low'] = nil", "allow is called, not assigned"},
      {"string.find = nil", "string.find belongs to the language"},
      {"math.pi = 3", "math.pi belongs to the language"},
      {"log.info = print", "log.info belongs to the language"},
      {"store.get = nil", "store.get belongs to the language"},
      {"any = 'a.example'", "any belongs to the language"},
      {"rawset(_G, 'deny', nil)", "this table belongs to the language"},
      {"rawset(string, 'find', nil)", "this table belongs to the language"},
      {"table.insert(_G, 5)", "takes no values"},
      {"setmetatable(_G, nil)", "protected metatable"},
      {"setmetatable(allow, nil)", "protected metatable"},
  });
}

TEST_CASE("an undeclared name that is assigned is an error with the nearest word, told once") {
  CHECK(Diagnose("x = 5\nlocal y = x") ==
        "policy.lua:1: error: 'x' is assigned but not declared; for a name of your own, write "
        "local x\n");
  CheckMistakes({
      {"sandbx = { network = false }", "did you mean 'sandbox'?"},
      {"function helper() end\nhelper()", "policy.lua:1: error: 'helper' is assigned"},
      {"on.request(function() count = 1 end)", "'count' is assigned but not declared"},
      {"local _ENV = {}\nsandbox = 5", "_ENV is where the names of the language are"},
      {"local function f(_ENV) sandbox = 5 end", "_ENV is where"},
      {"_ENV = {}", "_ENV is where"},
      {"on.request(function() _ENV = nil end)", "_ENV is where"},
  });
}

TEST_CASE("the tables of the language tell and take nothing behind its back") {
  CHECK(Diagnose("local e = _ENV\nassert(e == _G and e.allow == allow)") == "");
  CHECK(Diagnose("for _ in pairs(_G) do error('x') end\nassert(next(string) == nil)\n"
                 "assert(rawget(_G, 'allow') == nil and rawlen(_G) == 0 and #_G == 0)") == "");
  CHECK(Diagnose("assert(('a'):upper() == string.upper('a'))\nassert(math.pi > 3)\n"
                 "local t = rawset({}, 'a', 1)\nassert(t.a == 1 and _VERSION == 'Lua 5.4')") == "");
  CHECK(Diagnose("assert(getmetatable('') == false and getmetatable(_G) == false)") == "");
}

TEST_CASE("an assignment made while deciding denies") {
  for (const char* code :
       {"_G['al' .. 'low'] = 5", "string['fi' .. 'nd'] = 5", "on['x' .. 'y'] = 5",
        "rawset(store, 'get', 5)", "local n = _G['un' .. 'known']"}) {
    INFO(code);
    Policy policy("allow.http { host = 'a.example' }\non.request(function(req)\n" +
                  std::string(code) + "\nend)");
    CHECK_FALSE(policy.Forwards("a.example", "GET", "/"));
  }
}

TEST_CASE("undeclared names in code that does not run are found at load, with their line") {
  CHECK(Diagnose("on.request('a.example', function(req)\n  if req.path == '/x' then\n    "
                 "reqq:deny()\n  end\nend)") ==
        "policy.lua:3: error: undeclared name 'reqq'; did you mean 'req'?\n");
  CheckMistakes({
      {"local function never()\n  alow.http { host = 'a.example' }\nend",
       "policy.lua:2: error: undeclared name 'alow'; did you mean 'allow'?"},
      {"if false then denny.http {} end", "did you mean 'deny'?"},
      {"local token = 1\nlocal function f() return function() return tokn end end",
       "policy.lua:2: error: undeclared name 'tokn'; did you mean 'token'?"},
      {"on.request(function(r)\n\n\n\n" + std::string(200, '\n') + "undefined_thing() end)",
       "policy.lua:205: error: undeclared name 'undefined_thing'"},
      {"local s = string.fnd('a', 'b')", "there is no string.fnd; did you mean 'find'?"},
      {"log.inof 'x'", "there is no log.inof; did you mean 'info'?"},
      {"block.http { host = 'a.example' }", "write deny.http { ... }"},
      {"allow.http { host = h.com }", "text stands in quotes"},
      {"local s = vault 'x'", "not available in this version"},
  });
}

TEST_CASE("undeclared names are found in functions with more constants than an instruction holds") {
  std::string text = "local function many()\n  local t = {";
  for (int i = 0; i < 400; ++i) text += "'c" + std::to_string(i) + "', ";
  text += "}\n  udeclared()\n  alsonot = 5\n  return t, " + std::string(60, 'x') + "\nend\n";
  const std::string said = Diagnose(text);
  CHECK(Contains(said, "policy.lua:3: error: undeclared name 'udeclared'"));
  CHECK(Contains(said, "policy.lua:4: error: 'alsonot' is assigned"));
  CHECK(Contains(said, "policy.lua:5: error: undeclared name 'xxxxx"));
}

}  // namespace
}  // namespace sallyport::policy
