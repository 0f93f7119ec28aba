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

}  // namespace

Call& CheckCall(lua_State* lua, int index, const char* kind) {
  const auto* object = static_cast<const Object*>(luaL_checkudata(lua, index, kind));
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
  if (luaL_newmetatable(lua, kind.name) != 0) {
    lua_createtable(lua, 0, 8);
    luaL_setfuncs(lua, kind.functions, 0);
    luaL_setfuncs(lua, kind.metamethods, 1);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
  }
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
