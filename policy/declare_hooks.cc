#include <cstdlib>

#include "policy/declarations.h"
#include "policy/script_host.h"

// on.connect, on.request and on.response.

namespace sallyport::policy {
namespace {

const Words kEvents = {"connect", "request", "response"};

std::vector<Hook>& HooksOf(Declarations& declared, std::string_view event) {
  if (event == "connect") return declared.on_connect;
  return event == "request" ? declared.on_request : declared.on_response;
}

// Upvalue: the event.
int DeclareHook(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const std::string event = lua_tostring(lua, lua_upvalueindex(1));
  const std::string what = "on." + event;
  const int line = CurrentLine(lua);
  const int count = lua_gettop(lua);
  if (count < 1 || count > 2 || lua_type(lua, count) != LUA_TFUNCTION) {
    if (count < 1 || !IsAbsorber(lua, count)) {
      loader.diagnostics.Error(
          line, what + " takes a function, and before it, if you like, a host: " + what +
                    "(\"api.example.com\", function(x) ... end)");
    }
    return 0;
  }
  Hook hook;
  hook.id = loader.diagnostics.At(line);
  if (count == 2) {
    // The reader only words the messages; its table is not looked at.
    TableReader reader(lua, 1, loader.diagnostics, what, line);
    hook.host = ReadHost(reader, "host", 1, AnyIs::kHost);
    if (!hook.host) return 0;
  }
  auto& hooks = HooksOf(loader.declared, event);
  if (hooks.size() >= kMaxHooks) return luaL_error(lua, "too many %s hooks", what.c_str());
  lua_settop(lua, count);
  hook.reference = luaL_ref(lua, LUA_REGISTRYINDEX);
  hooks.push_back(std::move(hook));
  return 0;
}

int Ignore(lua_State*) {
  return 0;
}

int UnknownEvent(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const std::string event = Printable(ReadString(lua, 2).value_or("?"), 40);
  loader.diagnostics.Error(CurrentLine(lua), "there is no event on." + event +
                                                 "; it is connect, request or response" +
                                                 DidYouMean(event, kEvents));
  lua_pushcfunction(lua, &Ignore);
  return 1;
}

void ProtectTop(lua_State* lua, lua_CFunction index) {
  lua_createtable(lua, 0, 2);
  lua_pushcfunction(lua, index);
  lua_setfield(lua, -2, "__index");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_setmetatable(lua, -2);
}

}  // namespace

ScriptHost& HostOf(lua_State* lua) {
  return *static_cast<ScriptHost*>(LuaState::Of(lua).owner);
}

Loader& LoaderOf(lua_State* lua) {
  Loader* loader = HostOf(lua).loader;
  if (loader == nullptr) {
    luaL_error(lua, "declarations stand in the file itself, not in a callback");
    std::abort();  // Not reached: luaL_error does not return.
  }
  return *loader;
}

std::string WithoutPlace(const std::string& message, int& line) {
  const std::string prefix = std::string(kChunkName + 1) + ":";
  if (!message.starts_with(prefix)) return message;
  size_t end = prefix.size();
  int number = 0;
  while (end < message.size() && message[end] >= '0' && message[end] <= '9' &&
         number < 100'000'000) {
    number = number * 10 + (message[end++] - '0');
  }
  if (end == prefix.size() || message.compare(end, 2, ": ") != 0) return message;
  if (line == 0) line = number;
  return message.substr(end + 2);
}

void DefineHooks(lua_State* lua) {
  lua_createtable(lua, 0, 3);
  for (const char* event : {"connect", "request", "response"}) {
    lua_pushstring(lua, event);
    lua_pushcclosure(lua, &DeclareHook, 1);
    lua_setfield(lua, -2, event);
  }
  ProtectTop(lua, &UnknownEvent);
  lua_setglobal(lua, "on");
}

}  // namespace sallyport::policy
