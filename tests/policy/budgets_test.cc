#include <chrono>
#include <string>

#include "policy/load.h"
#include "policy/lua_state.h"
#include "tests/fakes/sanitized.h"
#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

// Each of these would run for seconds, hours or for ever, or take all memory.
const char* const kBombs[] = {
    "while true do end",
    "repeat until false",
    "local function f() return f() end f()",
    "for i = 1, 1e18 do end",
    "while true do pcall(error) end",
    "while true do pcall(function() while true do end end) end",
    "pcall(function() while true do end end) while true do end",
    "xpcall(function() while true do end end, function() while true do end end)",
    "xpcall(function() error('x') end, function() while true do end end)",
    "while true do xpcall(function() while true do end end, function(m) return m end) end",
    "local function f() pcall(f) f() end f()",
    "string.rep('x', 1 << 30)",
    "string.rep('x', 1 << 62)",
    "string.rep('x', 1 << 20, string.rep('y', 1 << 20))",
    "local s = 'x' while true do s = s .. s end",
    "local s = string.rep('x', 1 << 22) while true do local t = s .. 'y' end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "local t = {} while true do t = { t } end",
    "string.find(string.rep('a', 300), '.-.-.-.-b')",
    "string.match(string.rep('a', 3000), '(a*)*(a*)*(a*)*b')",
    "string.match(string.rep('a', 3000), 'a*a*a*a*a*b')",
    "string.gsub(string.rep('a', 3000), 'a-a-a-a-b', '')",
    "for w in string.gmatch(string.rep('a', 3000), '.-.-.-b') do end",
    "string.gsub(string.rep('a', 100000), '', string.rep('b', 1000))",
    "string.gsub(string.rep('a', 100000), 'a', function() while true do end end)",
    "string.find(string.rep('(', 100000), '%b()%b()')  while true do string.find(string.rep('(', "
    "100000), '%b()') end",
    "table.move({}, 1, 1 << 62, 2)",
    "table.move({}, 1, 1 << 40, 1 << 41)",
    "table.concat(setmetatable({}, { __index = function() return '' end }), '', 1, 1 << 62)",
    "table.concat({}, 'x', 1, 1 << 62)",
    "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 'x')",
    "table.remove(setmetatable({}, { __len = function() return 1 << 60 end }), 1)",
    "table.unpack({}, 1, 1 << 30)",
    "table.unpack({}, 1, 1 << 62)",
    "table.sort(setmetatable({}, { __len = function() return 1 << 30 end, __index = function() "
    "return 1 end, __newindex = function() end }))",
    "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() while true do end end)",
    "local t = {} for i = 1, 1e5 do t[i] = i % 7 end while true do table.sort(t, function(a, b) "
    "return true end) end",
    "string.format(string.rep('%99d', 100000), table.unpack({}, 1, 100000))",
    "while true do string.format('%99.99f', 1e300) end",
    "while true do ('x'):rep(1000):upper():lower():reverse() end",
    "while true do tostring({}) end",
    "local s = string.rep('1', 1 << 20) while true do tonumber(s, 10) end",
    "local s = string.rep('a', 1 << 20) while true do utf8.len(s) end",
    "local s = string.rep('a', 1 << 20) while true do s:byte(1, 10) end",
    "setmetatable({}, { __index = function(t, k) return t[k] end }).x()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end "
    "local x = t[1]",
    "local mt = {} mt.__concat = function(a, b) return a .. b end local x = setmetatable({}, mt) "
    ".. 'x'",
    "local t = setmetatable({}, { __eq = function() while true do end end }) return t == "
    "setmetatable({}, getmetatable(t))",
    "local function f(...) return f(1, ...) end f()",
    "local function f() local ok, e = pcall(f) return f() end f()",
    "error(setmetatable({}, { __tostring = function() while true do end end }))",
    "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    "for k in pairs(setmetatable({}, { __pairs = function() return function() return 1 end end })) "
    "do end",
    "local s = string.rep('x', 1 << 20) local t = {} while true do t[s .. #t] = 1 end",
};

TEST_CASE("whatever a callback does, it ends soon and denies") {
  for (const char* bomb : kBombs) {
    INFO(bomb);
    Policy policy("on.connect(function(conn) conn:accept() " + std::string(bomb) + " end)");
    const auto start = std::chrono::steady_clock::now();
    const auto verdict = policy.Flow(Policy::Named("a.example", 22));
    const auto took = std::chrono::steady_clock::now() - start;
    CHECK(verdict.action == FlowVerdict::Action::kDeny);
    CHECK(verdict.refusal.reason == Reason::kPolicyError);
    CHECK(took < std::chrono::seconds(5));  // Sanitized, on a busy machine.
    // The state is as good as before.
    CHECK(policy.Flow(Policy::Named("a.example", 22)).refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("a spent budget can't be caught") {
  for (const char* catcher :
       {"pcall(function() while true do end end) conn:accept()",
        "xpcall(function() while true do end end, function() conn:accept() end) conn:accept()",
        "xpcall(function() while true do end end, function() end) conn:accept()",
        "pcall(pcall, function() while true do end end) conn:accept()",
        "pcall(string.find, string.rep('a', 300), '.-.-.-.-b') conn:accept()",
        "pcall(table.move, {}, 1, 1 << 62, 2) conn:accept()",
        "local t = setmetatable({}, { __index = function() while true do end end }) "
        "pcall(function() return t.x end) conn:accept()",
        "pcall(table.sort, { 2, 1 }, function() while true do end end) conn:accept()",
        "pcall(string.gsub, 'a', 'a', function() while true do end end) conn:accept()"}) {
    INFO(catcher);
    Policy policy("on.connect(function(conn) " + std::string(catcher) + " end)");
    const auto verdict = policy.Flow(Policy::Named("a.example", 22));
    CHECK(verdict.action == FlowVerdict::Action::kDeny);
    CHECK(verdict.refusal.reason == Reason::kPolicyError);
  }
}

TEST_CASE("ordinary errors can be caught as in any Lua") {
  Policy policy(R"(on.connect(function(conn)
    local ok, message = pcall(error, "x")
    assert(not ok and message == "x")
    local ok2, message2 = xpcall(function(a) error(a) end, function(m) return "handled " .. tostring(m) end, "y")
    assert(not ok2 and message2:find("handled") and message2:find("y"))
    assert(select("#", pcall(function(...) return ... end, 1, nil, 3)) == 4)
    assert(select("#", xpcall(function(...) return ... end, function() end, 1, 2)) == 3)
    conn:accept()
  end))");
  const auto verdict = policy.Flow(Policy::Named("a.example", 22));
  CHECK(verdict.refusal.detail == "");
  CHECK(verdict.action == FlowVerdict::Action::kRaw);
}

TEST_CASE("finalizers, close handlers and weak tables are refused") {
  for (const char* field : {"__gc", "__close", "__mode"}) {
    INFO(field);
    Policy policy("on.connect(function(conn) setmetatable({}, { " + std::string(field) +
                  " = function() end }) conn:accept() end)");
    const auto verdict = policy.Flow(Policy::Named("a.example", 22));
    CHECK(verdict.refusal.reason == Reason::kPolicyError);
    CHECK(Contains(verdict.refusal.detail, field));
  }
  // Set later they are dead, or run under the budget.
  Policy later(R"(on.connect(function(conn)
    local mt = {}
    local t = setmetatable({}, mt)
    mt.__close = function() while true do end end
    pcall(function() local x <close> = t end)
    conn:accept()
  end))");
  CHECK(later.Flow(Policy::Named("a.example", 22)).refusal.reason == Reason::kPolicyError);
}

TEST_CASE("close handlers get nothing to run on after a spent budget") {
  Policy policy(R"(on.connect(function(conn)
    local mt = {}
    local x <close> = setmetatable({}, mt)
  end)
  on.connect("b.example", function(conn)
    local mt = {}
    local t = setmetatable({}, mt)
    mt.__close = function() conn:accept() while true do end end
    local x <close> = t
    while true do end
  end))");
  CHECK(policy.Flow(Policy::Named("b.example", 22)).action == FlowVerdict::Action::kDeny);
}

TEST_CASE("deep recursion ends in an error, not in a crash") {
  for (const char* body :
       {"local function f() return f() + 1 end f()", "local function f() pcall(f) end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = t local x = t.x",
        "local function f() string.gsub('a', 'a', f) end f()",
        "local function f() table.sort({ 2, 1 }, f) end f()",
        "local s = string.rep('(', 300) string.find('a', s)",
        "local function f() xpcall(error, f) end f()",
        "string.match(string.rep('a', 100000), string.rep('a?', 100000))"}) {
    INFO(body);
    Policy policy("on.connect(function(conn) " + std::string(body) + " conn:deny 'survived' end)");
    CHECK(policy.Flow(Policy::Named("a.example", 22)).action == FlowVerdict::Action::kDeny);
  }
  CHECK(Load(std::string(100000, '(')).engine == nullptr);
  CHECK(Load("x = " + std::string(100000, '{')).engine == nullptr);
  CHECK(Load("return " + std::string(100000, '-') + "1").engine != nullptr);  // Comments.
  CHECK(Load("local x = " + std::string(50000, 'n') + "not 1").engine == nullptr);
}

TEST_CASE("a file that does not end loading is refused") {
  const Budget budget{100'000, std::chrono::milliseconds(500)};
  for (const char* bomb : kBombs) {
    INFO(bomb);
    const auto loaded = LoadWithBudget({.text = bomb, .name = "policy.lua", .folder = "/"}, budget);
    CHECK(loaded.engine == nullptr);
    CHECK_FALSE(loaded.diagnostics.empty());
  }
}

TEST_CASE("what a spent budget says names the line") {
  CHECK(Contains(
      Diagnose("\n\nwhile true do end"),
      "policy.lua:3: error: the budget of steps or time is spent while the file was loading"));
}

TEST_CASE("repeating nothing takes no time") {
  Policy policy(
      "on.connect(function(conn) assert(string.rep('', 1 << 62) == '') conn:accept() end)");
  CHECK(policy.Action(Policy::Named("a.example", 22)) == "raw");
}

TEST_CASE("a finalizer that is set later is dead") {
  Policy policy(R"(on.connect(function(conn)
    for i = 1, 1000 do
      local mt = {}
      local t = setmetatable({}, mt)
      mt.__gc = function() while true do end end
    end
    local garbage = {}
    for i = 1, 10000 do garbage = { garbage = i } end
    conn:accept()
  end))");
  CHECK(policy.Action(Policy::Named("a.example", 22)) == "raw");
}

TEST_CASE("memory is bounded") {
  LuaState state;
  ScriptError error;
  CHECK_FALSE(state.Run(kLoadBudget, error, [](lua_State* lua) {
    lua_newtable(lua);
    for (lua_Integer i = 1;; ++i) {
      lua_pushfstring(lua, "%d", static_cast<int>(i));
      lua_seti(lua, -2, i);
    }
  }));
  CHECK(error.budget);
  CHECK(state.memory_used() <= kMaxScriptMemory);
}

TEST_CASE("a policy that keeps little may make much garbage, loading and in callbacks") {
  // In a callback, of its 100 ms: a sanitized Lua takes them for less.
  const std::string garbage = kSanitized ? "5000" : "20000";
  Policy policy(R"(
    local kept = {}
    for i = 1, 30000 do kept[i] = { i } end
    for i = 1, 300000 do local garbage = { i, tostring(i) } end
    on.connect(function(conn)
      for i = 1, )" + garbage + R"( do local garbage = { i, tostring(i) } end
      if #kept == 30000 then conn:accept() end
    end))");
  for (int i = 0; i < 20; ++i) CHECK(policy.Action(Policy::Named("a.example", 22)) == "raw");
}

TEST_CASE("the library does what Lua's does") {
  Policy policy(R"lua(on.connect(function(conn)
    assert(string.find("hello world", "o w") == 5)
    assert(select(2, string.find("hello", "l+")) == 4)
    assert(string.find("a.b", ".", 1, true) == 2 and string.find("a.b", "%.") == 2)
    assert(string.find("abc", "b", -1) == nil and string.find("abc", "c", -1) == 3 and string.find("abc", "", 10) == nil and string.find("abc", "", 4) == 4)
    assert(string.match("key = value", "^(%w+)%s*=%s*(%w+)$") == "key")
    assert(select(2, string.match("key = value", "^(%w+)%s*=%s*(%w+)$")) == "value")
    assert(string.match("abc", "()b()") == 2 and string.match("abc", "^b") == nil)
    assert(string.match("f(a(b)c)d", "%b()") == "(a(b)c)" and string.match("THE (quick) fox", "%f[%a]%a+%f[%A]") == "THE")
    assert(string.match("xyzxyz", "(xyz)%1") == "xyz")
    local words = {}
    for w in string.gmatch("one two  three", "%a+") do words[#words + 1] = w end
    assert(table.concat(words, ",") == "one,two,three")
    local pairs_found = {}
    for k, v in string.gmatch("a=1, b=2", "(%w+)=(%w+)") do pairs_found[#pairs_found + 1] = k .. v end
    assert(table.concat(pairs_found) == "a1b2")
    assert(string.gsub("hello", "l", "L") == "heLLo" and select(2, string.gsub("hello", "l", "L")) == 2)
    assert(string.gsub("hello", "l", "L", 1) == "heLlo" and string.gsub("hello", "", "-") == "-h-e-l-l-o-")
    assert(string.gsub("abc", "%w", "%0%0") == "aabbcc" and string.gsub("abc", "(a)(b)", "%2%1") == "bac" and string.gsub("a", "a", "%%") == "%")
    assert(string.gsub("$name", "%$(%w+)", { name = "x" }) == "x" and string.gsub("$none", "%$(%w+)", { name = "x" }) == "$none")
    assert(string.gsub("abc", "b", function(m) return m:upper() end) == "aBc" and string.gsub("abc", "^a", "x") == "xbc")
    assert(string.rep("ab", 3, ",") == "ab,ab,ab" and string.rep("x", 0) == "" and string.rep("x", -1) == "")
    assert(("x"):rep(3) == "xxx" and ("%d"):format(5) == "5" and #("abc"):upper() == 3 and ("abc"):byte(2) == 98)
    local t = { 3, 1, 2 }
    table.sort(t) assert(table.concat(t, ",") == "1,2,3")
    table.sort(t, function(a, b) return a > b end) assert(table.concat(t, ",") == "3,2,1")
    local big = {} for i = 1, 500 do big[i] = (i * 7919) % 503 end
    table.sort(big) for i = 2, 500 do assert(big[i - 1] <= big[i]) end
    table.insert(t, 0) table.insert(t, 1, 4) assert(table.concat(t, ",") == "4,3,2,1,0")
    assert(table.remove(t) == 0 and table.remove(t, 1) == 4 and table.concat(t, ",") == "3,2,1")
    assert(table.remove({}) == nil and not pcall(table.insert, { 1 }, 5, 2) and not pcall(table.remove, { 1 }, 5))
    assert(table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), ",") == "1,1,2,3" and table.concat(table.move({ 1, 2, 3 }, 2, 3, 1), ",") == "2,3,3")
    assert(table.concat(table.move({ 1, 2 }, 1, 2, 3, { 8, 9 }), ",") == "8,9,1,2")
    assert(select("#", table.unpack({ 1, nil, 3 }, 1, 3)) == 3 and table.pack(1, 2).n == 2 and table.concat({}, ",") == "")
    assert(math.max(1, 2) == 2 and math.random(1) == 1 and utf8.len("äö") == 2 and utf8.char(228) == "ä")
    assert(tonumber("ff", 16) == 255 and tonumber("x") == nil and tostring(5) == "5")
    assert(not pcall(string.find, "a", "[a") and not pcall(string.find, "a", "%") and not pcall(string.gsub, "a", "a", "%9"))
    assert(rawget(string, "pack") == nil and not pcall(function() return string.dump end) and getmetatable("") == false)
    conn:accept()
  end))lua");
  const auto verdict = policy.Flow(Policy::Named("a.example", 22));
  CHECK(verdict.refusal.detail == "");
  CHECK(verdict.action == FlowVerdict::Action::kRaw);
}

}  // namespace
}  // namespace sallyport::policy
