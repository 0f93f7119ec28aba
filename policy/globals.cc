#include <algorithm>

#include "policy/chunk_scan.h"
#include "policy/declarations.h"
#include "policy/script_host.h"
#include "policy/sealed_table.h"

// The global names of a policy, and the tables behind them, can be read and nothing else. Lua asks
// a metamethod only for keys that a table has not, so the values stand in a second table that no
// script gets hold of, and the tables that scripts see stay empty (sealed_table.h).
//
// Names are checked twice: the compiled chunk is looked through before it runs, for those in code
// that runs later or never, and reading or assigning one asks here, for those that are made up
// (`_G["al" .. "low"]`).

namespace sallyport::policy {
namespace {

constexpr char kGlobals = 0;  // Its address is the registry's key for the table of the values.

// Names of other Lua programs, of other policy languages and of versions to come.
const char* HintFor(std::string_view name) {
  if (name == "print" || name == "warn") return "; write log.info(\"...\")";
  for (const std::string_view code : {"load", "loadfile", "loadstring", "dofile", "require"}) {
    if (name == code) return "; a policy can't load code";
  }
  for (const std::string_view library :
       {"io", "os", "package", "debug", "coroutine", "collectgarbage"}) {
    if (name == library) return "; it is not available in a policy";
  }
  for (const std::string_view verb : {"block", "reject", "drop", "forbid"}) {
    if (name == verb) return "; write deny.http { ... }, deny.tcp or deny.udp";
  }
  for (const std::string_view verb : {"permit", "grant", "accept"}) {
    if (name == verb) return "; write allow.http { ... }, allow.tcp or allow.udp";
  }
  for (const std::string_view source : {"vault", "google_service_account", "sign"}) {
    if (name == source)
      return "; it is not available in this version: a value comes from env, file, command, oauth2 "
             "or github_app";
  }
  return nullptr;
}

std::vector<std::string> NamesOf(lua_State* lua, int index) {
  std::vector<std::string> names;
  index = lua_absindex(lua, index);
  for (lua_pushnil(lua); lua_next(lua, index) != 0; lua_pop(lua, 1)) {
    LuaState::Of(lua).Charge(1);
    if (auto key = ReadString(lua, -2); key && key->size() < 64) names.push_back(*std::move(key));
  }
  return names;
}

Words WordsOf(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

void PushGlobals(lua_State* lua) {
  lua_rawgetp(lua, LUA_REGISTRYINDEX, &kGlobals);
}

std::vector<std::string> GlobalNames(lua_State* lua) {
  PushGlobals(lua);
  auto names = NamesOf(lua, -1);
  lua_pop(lua, 1);
  return names;
}

// "h.com" without quotes is the field `com` of the name h.
std::string ExplainUndeclared(const std::string& name, const Words& known) {
  std::string message = "undeclared name '" + Printable(name, 60) + "'";
  if (const char* hint = HintFor(name)) return message + hint;
  if (const std::string hint = DidYouMean(name, known); !hint.empty()) return message + hint;
  return message + "; text stands in quotes, a name of your own is declared with local";
}

// How WHAT, which is declared, is used.
std::string UsageOf(const std::string& what) {
  for (const char* table :
       {"sandbox", "dns", "upstream", "fetch", "command", "oauth2", "github_app"}) {
    if (what == table) return what + " { ... }";
  }
  for (const char* rules : {"allow", "deny", "ask"}) {
    if (what == rules) return what + ".http { ... }";
    if (what.starts_with(std::string(rules) + ".")) return what + " { ... }";
  }
  if (what == "use") return "use \"npm\"";
  if (what == "secret") return "secret \"NAME\" { ... }";
  if (what == "env") return "env \"NAME\"";
  if (what == "file") return "file \"path\"";
  if (what == "sleep") return "sleep \"1s\"";
  if (what == "on") return "on.request(function(req) ... end)";
  if (what == "on.connect") return "on.connect(function(conn) ... end)";
  if (what == "on.request") return "on.request(\"api.example.com\", function(req) ... end)";
  if (what == "on.response") return "on.response(\"api.example.com\", function(res) ... end)";
  return {};
}

std::string ExplainAssignment(const std::string& what) {
  const std::string usage = UsageOf(what);
  if (!usage.empty()) return what + " is called, not assigned: write " + usage;
  return what +
         " belongs to the language and can't be assigned; for a name of your own, write local";
}

std::string ExplainNewGlobal(const std::string& name, const Words& known) {
  const std::string shown = Printable(name, 60);
  const std::string hint = DidYouMean(name, known);
  return "'" + shown + "' is assigned but not declared; for a name of your own, write local " +
         shown + hint;
}

// Tells it of the running line, or raises in a callback, where there is nobody to tell.
void Tell(lua_State* lua, const std::string& message) {
  const ScriptHost& host = HostOf(lua);
  if (host.loader == nullptr) luaL_error(lua, "%s", message.c_str());
  host.loader->diagnostics.Error(CurrentLine(lua), message);
}

// Whether nobody was told of NAME at LINE; from now on somebody was.
bool FirstTime(Loader& loader, int line, const std::string& name) {
  return loader.told_names.emplace(line, name).second;
}

int UndeclaredGlobal(lua_State* lua) {
  const auto name = ReadString(lua, 2);
  if (!name) return 0;
  Loader* loader = HostOf(lua).loader;
  if (loader == nullptr || FirstTime(*loader, CurrentLine(lua), *name)) {
    const auto names = GlobalNames(lua);
    Tell(lua, ExplainUndeclared(*name, WordsOf(names)));
  }
  PushAbsorber(lua);
  return 1;
}

// Arguments: the table, key, value. What a file assigns to an undeclared name is kept for the rest
// of its load, which has failed, so that its use is no second mistake.
int AssignedGlobal(lua_State* lua) {
  const auto name = ReadString(lua, 2);
  Loader* loader = HostOf(lua).loader;
  if (!name) {
    Tell(lua, "the table of global names takes no values; write local");
    return 0;
  }
  PushGlobals(lua);
  lua_pushvalue(lua, 2);
  const bool declared = lua_rawget(lua, -2) != LUA_TNIL;
  const std::string key = *name + " =";
  if (loader == nullptr || FirstTime(*loader, CurrentLine(lua), key)) {
    const auto names = GlobalNames(lua);
    Tell(lua, declared ? ExplainAssignment(*name) : ExplainNewGlobal(*name, WordsOf(names)));
  }
  if (declared || lua_isnil(lua, 3)) return 0;
  lua_pop(lua, 1);
  lua_pushvalue(lua, 2);
  lua_pushvalue(lua, 3);
  lua_rawset(lua, -3);
  return 0;
}

// A field that the table of the language's (the first argument) has not. Upvalue: its name.
int UnknownMember(lua_State* lua) {
  const auto key = ReadString(lua, 2);
  if (!key) return 0;
  const std::string table = lua_tostring(lua, lua_upvalueindex(1));
  const auto names = NamesOf(lua, 1);
  Tell(lua, "there is no " + table + "." + Printable(*key, 40) + DidYouMean(*key, WordsOf(names)));
  PushAbsorber(lua);
  return 1;
}

// Upvalues: the table's name, the table itself.
int AssignedMember(lua_State* lua) {
  const std::string table = lua_tostring(lua, lua_upvalueindex(1));
  const std::string key = ReadString(lua, 2).value_or("?");
  const std::string what = table + "." + Printable(key, 40);
  const auto names = NamesOf(lua, lua_upvalueindex(2));
  if (std::find(names.begin(), names.end(), key) != names.end()) {
    Tell(lua, ExplainAssignment(what));
  } else {
    Tell(lua, what + " can't be assigned: " + table + " belongs to the language" +
                  DidYouMean(key, WordsOf(names)));
  }
  return 0;
}

// Gives the table at INDEX, without a way of its own to explain unknown fields, the common one.
void ExplainMembers(lua_State* lua, int index, const std::string& name) {
  if (lua_getmetatable(lua, index) != 0) return lua_pop(lua, 1);
  lua_createtable(lua, 0, 1);
  lua_pushstring(lua, name.c_str());
  lua_pushcclosure(lua, &UnknownMember, 1);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, index);
}

// Replaces the table on top, the value of the global NAME, by one that takes no assignment.
void SealMember(lua_State* lua, const std::string& name) {
  ExplainMembers(lua, lua_gettop(lua), name);
  lua_pushstring(lua, name.c_str());
  lua_pushvalue(lua, -2);
  lua_pushcclosure(lua, &AssignedMember, 2);
  lua_insert(lua, -2);
  SealTable(lua);
}

// Moves all that the table at FROM has to the one at TO, tables sealed but for FROM itself.
void MoveValues(lua_State* lua, int from, int to) {
  const auto names = NamesOf(lua, from);
  for (const std::string& name : names) {
    lua_getfield(lua, from, name.c_str());
    if (lua_type(lua, -1) == LUA_TTABLE && lua_rawequal(lua, -1, from) == 0) SealMember(lua, name);
    lua_setfield(lua, to, name.c_str());
    lua_pushnil(lua);
    lua_setfield(lua, from, name.c_str());
  }
}

int AppendTo(lua_State*, const void* bytes, size_t count, void* text) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(bytes), count);
  return 0;
}

// Reports what a chunk does with global names, and sorts them first: a name that it assigns
// anywhere is told once, as that.
class NameCheck {
 public:
  explicit NameCheck(std::vector<std::string> declared) : declared_(std::move(declared)) {
    std::sort(declared_.begin(), declared_.end());
  }

  bool IsDeclared(std::string_view name) const {
    return std::binary_search(declared_.begin(), declared_.end(), name);
  }

  std::vector<std::pair<int, std::string>> Check(const std::vector<GlobalUse>& uses,
                                                 Loader* loader) {
    for (const GlobalUse& use : uses) {
      if (use.assigned) assigned_.insert(use.name);
    }
    std::vector<std::pair<int, std::string>> mistakes;
    for (const GlobalUse& use : uses) {
      if (!use.assigned && assigned_.contains(use.name)) continue;
      const std::string key = use.assigned ? use.name + " =" : use.name;
      if (loader != nullptr && !FirstTime(*loader, use.line, key)) continue;
      mistakes.emplace_back(use.line, Explain(use));
    }
    return mistakes;
  }

 private:
  std::string Explain(const GlobalUse& use) const {
    Words known(declared_.begin(), declared_.end());
    if (use.assigned && use.name == "_ENV")
      return "_ENV is where the names of the language are: it can't be changed";
    if (use.assigned)
      return IsDeclared(use.name) ? ExplainAssignment(use.name) : ExplainNewGlobal(use.name, known);
    known.insert(known.end(), use.locals.begin(), use.locals.end());
    return ExplainUndeclared(use.name, known);
  }

  std::vector<std::string> declared_;
  std::set<std::string, std::less<>> assigned_;
};

}  // namespace

void GuardGlobals(lua_State* lua) {
  lua_pushglobaltable(lua);
  const int table = lua_gettop(lua);
  lua_createtable(lua, 0, 64);
  MoveValues(lua, table, table + 1);
  lua_createtable(lua, 0, 1);
  lua_pushcfunction(lua, &UndeclaredGlobal);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, table + 1);
  lua_pushvalue(lua, table + 1);
  lua_rawsetp(lua, LUA_REGISTRYINDEX, &kGlobals);
  // The table that chunks have for _ENV stays the same one, empty now.
  SealInPlace(lua, table, &AssignedGlobal);
  lua_settop(lua, table - 1);
}

void CheckGlobalNames(lua_State* lua, size_t source_size) {
  std::string dump;
  dump.reserve(2 * source_size);
  lua_dump(lua, &AppendTo, &dump, /*strip=*/0);
  LuaState::Of(lua).Charge(static_cast<int64_t>(dump.size() / 16));
  NameCheck check(GlobalNames(lua));
  const auto uses =
      ScanChunk(dump, [&check](std::string_view name) { return check.IsDeclared(name); });
  if (!uses) luaL_error(lua, "this Lua compiles to a form whose names can't be checked");
  Loader* loader = HostOf(lua).loader;
  for (const auto& [line, message] : check.Check(*uses, loader)) {
    if (loader == nullptr) luaL_error(lua, "policy:%d: %s", line, message.c_str());
    loader->diagnostics.Error(line, message);
  }
}

}  // namespace sallyport::policy
