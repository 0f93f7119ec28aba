#include <array>

#include "policy/lua_state.h"
#include "policy/sealed_table.h"

namespace sallyport::policy {
namespace {

// A string argument costs a step for this many of its bytes: what a plain loop over it takes.
constexpr size_t kArgumentBytesPerStep = 4;

// Calls the function in the first upvalue, after charging for its arguments.
int ChargedCall(lua_State* lua) {
  const int count = lua_gettop(lua);
  int64_t steps = count;
  for (int i = 1; i <= count; ++i) {
    if (lua_type(lua, i) != LUA_TSTRING) continue;
    steps += static_cast<int64_t>(lua_rawlen(lua, i) / kArgumentBytesPerStep);
  }
  LuaState::Of(lua).Charge(steps);
  return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

// The end of a protected call, also of one that waited in between. Below its results stand BELOW
// values that are not returned.
int EndProtected(lua_State* lua, int status, lua_KContext below) {
  LuaState& state = LuaState::Of(lua);
  if (state.spent()) state.RaiseSpent();
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(lua) - static_cast<int>(below);
  lua_pushboolean(lua, 0);
  lua_insert(lua, -2);
  return 2;
}

// A wait keeps the calls that it stands in without the machine's stack, so their number is not bounded
// by it, and each costs an exception when a budget is spent. Deeper ones can't wait.
constexpr int kMaxWaitingDepth = 100;

// As lua_pcallk with EndProtected.
int CallProtected(lua_State* lua, int arguments, int handler, lua_KContext below) {
  lua_Debug activation;
  const bool deep = lua_getstack(lua, kMaxWaitingDepth, &activation) != 0;
  const int status = deep ? lua_pcall(lua, arguments, LUA_MULTRET, handler)
                          : lua_pcallk(lua, arguments, LUA_MULTRET, handler, below, &EndProtected);
  return EndProtected(lua, status, below);
}

int ProtectedCall(lua_State* lua) {
  luaL_checkany(lua, 1);
  lua_pushboolean(lua, 1);
  lua_insert(lua, 1);
  return CallProtected(lua, lua_gettop(lua) - 2, 0, /*below=*/0);
}

// The handler of a script runs while the failed call still stands. For a spent budget that may be
// inside the hook, where nothing bounds it: it is then not called at all.
int GuardedHandler(lua_State* lua) {
  if (LuaState::Of(lua).spent()) return 1;
  lua_settop(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, 1, 1);
  return 1;
}

int ProtectedCallWithHandler(lua_State* lua) {
  const int count = lua_gettop(lua);
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_pushvalue(lua, 2);
  lua_pushcclosure(lua, &GuardedHandler, 1);
  lua_replace(lua, 2);
  lua_pushboolean(lua, 1);
  lua_pushvalue(lua, 1);
  lua_rotate(lua, 3, 2);  // function, handler, true, function, arguments
  return CallProtected(lua, count - 2, 2, /*below=*/2);
}

// Finalizers run where no hook bounds them, weak tables make collections long, and a __close
// handler would run after a spent budget.
constexpr std::array kRefusedMetafields = {"__gc", "__close", "__mode"};

int SetMetatable(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const int type = lua_type(lua, 2);
  luaL_argexpected(lua, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
  if (luaL_getmetafield(lua, 1, "__metatable") != LUA_TNIL) {
    return luaL_error(lua, "cannot change a protected metatable");
  }
  for (const char* field : kRefusedMetafields) {
    if (type != LUA_TTABLE) break;
    lua_pushstring(lua, field);
    if (lua_rawget(lua, 2) != LUA_TNIL) {
      return luaL_error(lua, "'%s' is not available in a policy", field);
    }
    lua_pop(lua, 1);
  }
  lua_settop(lua, 2);
  lua_setmetatable(lua, 1);
  return 1;
}

int RawSet(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checkany(lua, 3);
  if (IsSealed(lua, 1)) return luaL_error(lua, "rawset: this table belongs to the language");
  lua_settop(lua, 3);
  lua_rawset(lua, 1);
  return 1;
}

void RemoveField(lua_State* lua, const char* field) {
  lua_pushnil(lua);
  lua_setfield(lua, -2, field);
}

void OpenBase(lua_State* lua) {
  luaL_requiref(lua, LUA_GNAME, luaopen_base, 1);
  for (const char* field : {"collectgarbage", "dofile", "load", "loadfile", "print", "warn"}) {
    RemoveField(lua, field);
  }
  static constexpr luaL_Reg kFunctions[] = {{"pcall", &ProtectedCall},
                                            {"xpcall", &ProtectedCallWithHandler},
                                            {"setmetatable", &SetMetatable},
                                            {"rawset", &RawSet},
                                            {nullptr, nullptr}};
  luaL_setfuncs(lua, kFunctions, 0);
  lua_getfield(lua, -1, "tonumber");
  lua_pushcclosure(lua, &ChargedCall, 1);
  lua_setfield(lua, -2, "tonumber");
  lua_pop(lua, 1);
}

}  // namespace

void ChargeFunctionsOf(lua_State* lua, int index) {
  index = lua_absindex(lua, index);
  for (lua_pushnil(lua); lua_next(lua, index) != 0;) {
    if (lua_iscfunction(lua, -1) == 0) {
      lua_pop(lua, 1);
      continue;
    }
    lua_pushcclosure(lua, &ChargedCall, 1);
    lua_pushvalue(lua, -2);
    lua_insert(lua, -2);  // key, key, function: the first key drives the next turn.
    lua_rawset(lua, index);
  }
}

void OpenSafeLibraries(lua_State* lua) {
  OpenBase(lua);
  luaL_requiref(lua, LUA_MATHLIBNAME, luaopen_math, 1);
  lua_pop(lua, 1);
  luaL_requiref(lua, LUA_UTF8LIBNAME, luaopen_utf8, 1);
  ChargeFunctionsOf(lua, -1);
  lua_pop(lua, 1);
  OpenSafeStrings(lua);
  OpenSafeTables(lua);
}

}  // namespace sallyport::policy
