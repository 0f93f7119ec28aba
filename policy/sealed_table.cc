#include "policy/sealed_table.h"

namespace sallyport::policy {
namespace {

constexpr char kSealed = 0;  // Its address is a key that no script can write.

// Copies the metamethods of the table at FROM to the table on top; without any, does nothing.
void CopyMetamethods(lua_State* lua, int from) {
  if (lua_getmetatable(lua, from) == 0) return;
  const int old = lua_gettop(lua);
  for (lua_pushnil(lua); lua_next(lua, old) != 0;) {
    lua_pushvalue(lua, -2);
    lua_insert(lua, -2);  // key, key, value: the first key drives the next turn.
    lua_rawset(lua, old - 1);
  }
  lua_pop(lua, 1);
}

// Gives the table at INDEX its metatable, which lies below two values: the table that INDEX shows,
// and the function that is called for assignments. Takes the three off.
void Seal(lua_State* lua, int index) {
  lua_setfield(lua, -3, "__newindex");
  lua_setfield(lua, -2, "__index");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pushboolean(lua, 1);
  lua_rawsetp(lua, -2, &kSealed);
  lua_setmetatable(lua, index);
}

}  // namespace

void SealTable(lua_State* lua) {
  const int real = lua_gettop(lua);
  lua_createtable(lua, 0, 0);
  lua_createtable(lua, 0, 6);
  CopyMetamethods(lua, real);
  lua_pushvalue(lua, real);
  lua_pushvalue(lua, real - 1);
  Seal(lua, real + 1);
  lua_replace(lua, real - 1);
  lua_settop(lua, real - 1);
}

void SealInPlace(lua_State* lua, int index, lua_CFunction assigned) {
  index = lua_absindex(lua, index);
  lua_createtable(lua, 0, 4);
  lua_insert(lua, -2);
  lua_pushcfunction(lua, assigned);
  Seal(lua, index);
}

bool IsSealed(lua_State* lua, int index) {
  if (lua_type(lua, index) != LUA_TTABLE || lua_getmetatable(lua, index) == 0) return false;
  const bool sealed = lua_rawgetp(lua, -1, &kSealed) != LUA_TNIL;
  lua_pop(lua, 2);
  return sealed;
}

}  // namespace sallyport::policy
