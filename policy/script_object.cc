#include <cstdlib>

#include "policy/declarations.h"
#include "policy/script_call.h"
#include "policy/script_host.h"

// The objects of callbacks are small userdata: the generation of the callback they belong to, and a
// number. They hold no pointer, so that one which a script keeps can do no more than raise an
// error.

namespace sallyport::policy {
namespace {

struct Object {
  uint64_t generation;
  size_t number;
};

// As luaL_checkudata, by the address of the kind's name: no string is made or looked for.
bool IsObject(lua_State* lua, int index, const char* kind) {
  if (lua_type(lua, index) != LUA_TUSERDATA || lua_getmetatable(lua, index) == 0) return false;
  lua_rawgetp(lua, LUA_REGISTRYINDEX, kind);
  const bool same = lua_rawequal(lua, -1, -2) != 0;
  lua_pop(lua, 2);
  return same;
}

void PushMetatable(lua_State* lua, const ObjectKind& kind) {
  if (lua_rawgetp(lua, LUA_REGISTRYINDEX, kind.name) != LUA_TNIL) return;
  lua_pop(lua, 1);
  lua_createtable(lua, 0, 8);
  lua_createtable(lua, 0, 8);
  luaL_setfuncs(lua, kind.functions, 0);
  luaL_setfuncs(lua, kind.metamethods, 1);
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pushstring(lua, kind.name);
  lua_setfield(lua, -2, "__name");
  lua_pushvalue(lua, -1);
  lua_rawsetp(lua, LUA_REGISTRYINDEX, kind.name);
}

}  // namespace

Call& CheckCall(lua_State* lua, int index, const char* kind) {
  if (!IsObject(lua, index, kind)) luaL_typeerror(lua, index, kind);
  const auto* object = static_cast<const Object*>(lua_touserdata(lua, index));
  const ScriptHost& host = HostOf(lua);
  if (host.call == nullptr || object->generation != host.call->generation) {
    luaL_error(lua, "this object belongs to a callback that is over; a policy can't keep it");
    std::abort();  // Not reached: luaL_error does not return.
  }
  return *host.call;
}

size_t ObjectNumber(lua_State* lua, int index) {
  return static_cast<const Object*>(lua_touserdata(lua, index))->number;
}

void PushObject(lua_State* lua, const ObjectKind& kind, size_t number) {
  auto* object = static_cast<Object*>(lua_newuserdatauv(lua, sizeof(Object), 0));
  object->generation = HostOf(lua).call->generation;
  object->number = number;
  PushMetatable(lua, kind);
  lua_setmetatable(lua, -2);
}

int IndexFunction(lua_State* lua, const char* what,
                  std::initializer_list<std::string_view> fields) {
  lua_pushvalue(lua, 2);
  if (lua_rawget(lua, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  Words words(fields);
  for (lua_pushnil(lua); lua_next(lua, lua_upvalueindex(1)) != 0; lua_pop(lua, 1)) {
    words.push_back(lua_tostring(lua, -2));  // Lives as long as the table of functions.
  }
  const std::string name = ReadString(lua, 2).value_or("?");
  const std::string hint = DidYouMean(name, words);
  return luaL_error(lua, "%s has no field '%s'%s", what, Printable(name, 60).c_str(), hint.c_str());
}

void CheckUndecided(lua_State* lua, const Call& call) {
  if (call.decision == Call::Decision::kNone) return;
  luaL_error(lua, "decided already: a callback accepts, denies or responds once");
}

}  // namespace sallyport::policy
