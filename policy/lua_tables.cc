#include <climits>

#include <algorithm>

#include "policy/lua_state.h"

// The table library with the meaning of the Lua 5.4 manual, for real tables only, counting steps:
// every loop here is as long as a number in the script says.

namespace sallyport::policy {
namespace {

void ChargeStep(lua_State* lua) {
  LuaState::Of(lua).Charge(1);
}

int Insert(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const lua_Integer length = luaL_len(lua, 1);
  luaL_argcheck(lua, length < LUA_MAXINTEGER, 1, "table too long");
  const lua_Integer end = length + 1;
  const int count = lua_gettop(lua);
  if (count != 2 && count != 3) return luaL_error(lua, "wrong number of arguments to 'insert'");
  lua_Integer position = end;
  if (count == 3) {
    position = luaL_checkinteger(lua, 2);
    luaL_argcheck(lua, position >= 1 && position <= end, 2, "position out of bounds");
    for (lua_Integer i = end; i > position; --i) {
      ChargeStep(lua);
      lua_geti(lua, 1, i - 1);
      lua_seti(lua, 1, i);
    }
  }
  lua_seti(lua, 1, position);
  return 0;
}

int Remove(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const lua_Integer length = luaL_len(lua, 1);
  lua_Integer position = luaL_optinteger(lua, 2, length);
  if (lua_gettop(lua) > 1) {
    luaL_argcheck(lua, (position >= 1 && position - 1 <= length) || (length == 0 && position == 0),
                  2, "position out of bounds");
  }
  lua_geti(lua, 1, position);
  for (; position < length; ++position) {
    ChargeStep(lua);
    lua_geti(lua, 1, position + 1);
    lua_seti(lua, 1, position);
  }
  lua_pushnil(lua);
  lua_seti(lua, 1, position);
  return 1;
}

int Move(lua_State* lua) {
  const lua_Integer first = luaL_checkinteger(lua, 2);
  const lua_Integer last = luaL_checkinteger(lua, 3);
  const lua_Integer target = luaL_checkinteger(lua, 4);
  const int to = lua_isnoneornil(lua, 5) ? 1 : 5;
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checktype(lua, to, LUA_TTABLE);
  if (last >= first) {
    luaL_argcheck(lua, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
    const lua_Integer count = last - first + 1;
    luaL_argcheck(lua, target <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
    const bool backwards = to == 1 && target > first && target <= last;
    for (lua_Integer i = 0; i < count; ++i) {
      ChargeStep(lua);
      const lua_Integer offset = backwards ? count - 1 - i : i;
      lua_geti(lua, 1, first + offset);
      lua_seti(lua, to, target + offset);
    }
  }
  lua_pushvalue(lua, to);
  return 1;
}

void AddField(lua_State* lua, luaL_Buffer* buffer, lua_Integer index) {
  lua_geti(lua, 1, index);
  if (lua_isstring(lua, -1) == 0) {
    luaL_error(lua, "invalid value (at index %I) in table for 'concat'",
               static_cast<LUAI_UACINT>(index));
  }
  LuaState::Of(lua).Charge(1 + static_cast<int64_t>(lua_rawlen(lua, -1) / 16));
  luaL_addvalue(buffer);
}

int Concat(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  size_t separator_length = 0;
  const char* separator = luaL_optlstring(lua, 2, "", &separator_length);
  lua_Integer i = luaL_optinteger(lua, 3, 1);
  const lua_Integer last = lua_isnoneornil(lua, 4) ? luaL_len(lua, 1) : luaL_checkinteger(lua, 4);
  luaL_Buffer buffer;
  luaL_buffinit(lua, &buffer);
  for (; i < last; ++i) {
    AddField(lua, &buffer, i);
    LuaState::Of(lua).Charge(static_cast<int64_t>(separator_length / 16));
    luaL_addlstring(&buffer, separator, separator_length);
  }
  if (i == last) AddField(lua, &buffer, i);
  luaL_pushresult(&buffer);
  return 1;
}

int Unpack(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const lua_Integer first = luaL_optinteger(lua, 2, 1);
  const lua_Integer last = lua_isnoneornil(lua, 3) ? luaL_len(lua, 1) : luaL_checkinteger(lua, 3);
  if (first > last) return 0;
  const lua_Unsigned less_one = static_cast<lua_Unsigned>(last) - static_cast<lua_Unsigned>(first);
  if (less_one >= INT_MAX - 1) return luaL_error(lua, "too many results to unpack");
  const int count = static_cast<int>(less_one) + 1;
  LuaState::Of(lua).Charge(count);
  if (lua_checkstack(lua, count) == 0) return luaL_error(lua, "too many results to unpack");
  for (int i = 0; i < count; ++i) lua_geti(lua, 1, first + i);
  return count;
}

// Whether the value at A comes before the one at B: by the function in argument 2, or "<".
bool Less(lua_State* lua, int a, int b) {
  int64_t steps = 4;
  for (const int index : {a, b}) {
    if (lua_type(lua, index) == LUA_TSTRING)
      steps += static_cast<int64_t>(lua_rawlen(lua, index) / 16);
  }
  LuaState::Of(lua).Charge(steps);
  if (lua_isnil(lua, 2)) return lua_compare(lua, a, b, LUA_OPLT) != 0;
  lua_pushvalue(lua, 2);
  lua_pushvalue(lua, a);
  lua_pushvalue(lua, b);
  lua_call(lua, 2, 1);
  const bool less = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 1);
  return less;
}

// Lets the value at ROOT of a heap that ends at END sink to where it belongs.
void Sift(lua_State* lua, lua_Integer root, lua_Integer end) {
  lua_geti(lua, 1, root);
  const int value = lua_gettop(lua);
  while (root <= end / 2) {
    lua_Integer child = root * 2;
    lua_geti(lua, 1, child);
    if (child < end) {
      lua_geti(lua, 1, child + 1);
      if (Less(lua, value + 1, value + 2)) {
        lua_remove(lua, value + 1);
        ++child;
      } else {
        lua_pop(lua, 1);
      }
    }
    if (!Less(lua, value, value + 1)) {
      lua_pop(lua, 1);
      break;
    }
    lua_seti(lua, 1, root);
    root = child;
  }
  lua_seti(lua, 1, root);
}

// Heap sort: no order function, however odd, makes it longer than n log n.
int Sort(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  if (!lua_isnoneornil(lua, 2)) luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_settop(lua, 2);
  const lua_Integer length = luaL_len(lua, 1);
  luaL_argcheck(lua, length < INT_MAX, 1, "array too big");
  for (lua_Integer root = length / 2; root >= 1; --root) Sift(lua, root, length);
  for (lua_Integer end = length; end > 1; --end) {
    lua_geti(lua, 1, 1);
    lua_geti(lua, 1, end);
    lua_seti(lua, 1, 1);
    lua_seti(lua, 1, end);
    Sift(lua, 1, end - 1);
  }
  return 0;
}

}  // namespace

void OpenSafeTables(lua_State* lua) {
  luaL_requiref(lua, LUA_TABLIBNAME, luaopen_table, 1);
  static constexpr luaL_Reg kFunctions[] = {
      {"concat", &Concat}, {"insert", &Insert}, {"move", &Move},   {"remove", &Remove},
      {"sort", &Sort},     {"unpack", &Unpack}, {nullptr, nullptr}};
  luaL_setfuncs(lua, kFunctions, 0);
  lua_pop(lua, 1);
}

}  // namespace sallyport::policy
