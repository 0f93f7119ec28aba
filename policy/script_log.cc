#include <map>
#include <string>

#include "policy/declarations.h"
#include "base/cut_text.h"
#include "policy/script_call.h"
#include "policy/script_host.h"

// log.info and log.warn: sentences of the policy's own for the audit log. They change no decision
// and never fail for what a guest has put into them; whoever takes them bounds how many are kept.

namespace sallyport::policy {
namespace {

// Fields of a table that are told.
constexpr size_t kMaxFields = 32;
// Of a file that is read where there is no log yet.
constexpr size_t kMaxEarly = 16;
// A call costs this much of a callback's budget.
constexpr int64_t kSteps = 200;

/// The value at INDEX in a table, on its way to people.
std::string ValueText(lua_State* lua, int index) {
  switch (lua_type(lua, index)) {
    case LUA_TBOOLEAN:
      return lua_toboolean(lua, index) != 0 ? "true" : "false";
    case LUA_TNUMBER: {
      lua_pushvalue(lua, index);  // lua_tolstring would make a string of the table's own value.
      std::string number = lua_tostring(lua, -1);
      lua_pop(lua, 1);
      return number;
    }
    case LUA_TSTRING: {
      std::string quoted = "\"";
      const std::string text = ReadString(lua, index).value_or("");
      for (const char c : CutText(text, kMaxLogMessage)) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
      }
      return quoted + '"';
    }
    default:
      return "(" + DescribeType(lua, index) + ")";
  }
}

std::string KeyText(lua_State* lua, int index) {
  if (lua_type(lua, index) != LUA_TSTRING) return "[" + ValueText(lua, index) + "]";
  const std::string text = ReadString(lua, index).value_or("");
  return std::string(CutText(text, kMaxLogMessage));
}

/// "host=\"a.example\" status=403": the fields of the table at INDEX, by their names.
std::string TableText(lua_State* lua, int index) {
  std::map<std::string, std::string> fields;
  bool more = false;
  for (lua_pushnil(lua); lua_next(lua, index) != 0; lua_pop(lua, 1)) {
    LuaState::Of(lua).Charge(1);
    if (fields.size() < kMaxFields) {
      fields.emplace(KeyText(lua, lua_gettop(lua) - 1), ValueText(lua, lua_gettop(lua)));
    } else {
      more = true;
    }
  }
  std::string text;
  for (const auto& [key, value] : fields) {
    text.append(text.empty() ? "" : " ").append(key).append("=").append(value);
  }
  return more ? text + " …" : text;
}

// Upvalue: the level.
int Say(lua_State* lua) {
  LuaState::Of(lua).Charge(kSteps);
  const int type = lua_type(lua, 1);
  luaL_argexpected(lua, type == LUA_TSTRING || type == LUA_TTABLE, 1, "string or table");
  ScriptHost& host = HostOf(lua);
  LogLine line;
  line.level = static_cast<LogLine::Level>(lua_tointeger(lua, lua_upvalueindex(1)));
  line.message = type == LUA_TSTRING ? ReadString(lua, 1).value_or("") : TableText(lua, 1);
  line.message.resize(CutText(line.message, kMaxLogMessage).size());
  line.place = host.file + ":" + std::to_string(CurrentLine(lua));
  if (host.call != nullptr) line.flow = host.call->facts->flow;
  if (host.log) {
    host.log(line);
  } else if (host.early.size() < kMaxEarly) {
    host.early.push_back(std::move(line));
  }
  return 0;
}

}  // namespace

void DefineLog(lua_State* lua) {
  lua_createtable(lua, 0, 2);
  for (const auto& [name, level] :
       {std::pair("info", LogLine::Level::kInfo), std::pair("warn", LogLine::Level::kWarn)}) {
    lua_pushinteger(lua, static_cast<lua_Integer>(level));
    lua_pushcclosure(lua, &Say, 1);
    lua_setfield(lua, -2, name);
  }
  lua_setglobal(lua, "log");
}

}  // namespace sallyport::policy
