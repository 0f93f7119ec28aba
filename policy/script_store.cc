#include <variant>

#include "policy/declarations.h"
#include "policy/script_host.h"

// store.get, store.set and store.incr: what callbacks remember, for as long as the sandbox lives.

namespace sallyport::policy {
namespace {

constexpr size_t kMaxKey = 256;
constexpr size_t kMaxText = 16 * 1024;
constexpr size_t kMaxStored = size_t{1} << 20;  // All keys and values.
constexpr size_t kOverhead = 64;                // Of an entry.

Store& StoreOf(lua_State* lua) {
  if (HostOf(lua).call == nullptr)
    luaL_error(lua, "store is for callbacks: there is no sandbox while the file is read");
  return *HostOf(lua).store;
}

std::string ReadKey(lua_State* lua) {
  auto key = ReadString(lua, 1);
  if (!key || key->empty() || key->size() > kMaxKey)
    luaL_error(lua, "a key of the store is a string of 1 to %d bytes", static_cast<int>(kMaxKey));
  return key.value_or("");
}

size_t SizeOf(const Store::Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return kOverhead + (text != nullptr ? text->size() : 0);
}

void Put(lua_State* lua, Store& store, const std::string& key, Store::Value value) {
  const auto found = store.values.find(key);
  const size_t had = found == store.values.end() ? 0 : key.size() + SizeOf(found->second);
  const size_t has = key.size() + SizeOf(value);
  if (store.size - had + has > kMaxStored) luaL_error(lua, "the store is full");
  store.size += has - had;
  store.values.insert_or_assign(key, std::move(value));
}

int Get(lua_State* lua) {
  const Store& store = StoreOf(lua);
  const auto found = store.values.find(ReadKey(lua));
  if (found == store.values.end()) {
    lua_pushnil(lua);
  } else if (const auto* text = std::get_if<std::string>(&found->second)) {
    lua_pushlstring(lua, text->data(), text->size());
  } else if (const auto* integer = std::get_if<int64_t>(&found->second)) {
    lua_pushinteger(lua, *integer);
  } else if (const auto* number = std::get_if<double>(&found->second)) {
    lua_pushnumber(lua, *number);
  } else {
    lua_pushboolean(lua, std::get<bool>(found->second) ? 1 : 0);
  }
  return 1;
}

int Set(lua_State* lua) {
  Store& store = StoreOf(lua);
  const std::string key = ReadKey(lua);
  if (lua_isnoneornil(lua, 2)) {
    const auto found = store.values.find(key);
    if (found == store.values.end()) return 0;
    store.size -= key.size() + SizeOf(found->second);
    store.values.erase(found);
    return 0;
  }
  if (lua_isboolean(lua, 2)) {
    Put(lua, store, key, lua_toboolean(lua, 2) != 0);
  } else if (lua_isinteger(lua, 2) != 0) {
    Put(lua, store, key, int64_t{lua_tointeger(lua, 2)});
  } else if (lua_type(lua, 2) == LUA_TNUMBER) {
    Put(lua, store, key, lua_tonumber(lua, 2));
  } else {
    auto text = ReadString(lua, 2);
    if (!text || text->size() > kMaxText)
      return luaL_error(lua, "the store keeps strings up to 16 KiB, numbers and booleans, not %s",
                        DescribeType(lua, 2).c_str());
    Put(lua, store, key, *std::move(text));
  }
  return 0;
}

int Increment(lua_State* lua) {
  Store& store = StoreOf(lua);
  const std::string key = ReadKey(lua);
  const lua_Integer by = luaL_optinteger(lua, 2, 1);
  const auto found = store.values.find(key);
  int64_t value = 0;
  if (found != store.values.end()) {
    const auto* integer = std::get_if<int64_t>(&found->second);
    if (integer == nullptr) return luaL_error(lua, "store.incr: '%s' is not an integer", key.c_str());
    value = *integer;
  }
  if (__builtin_add_overflow(value, int64_t{by}, &value))
    return luaL_error(lua, "store.incr: '%s' is at its end", key.c_str());
  Put(lua, store, key, value);
  lua_pushinteger(lua, value);
  return 1;
}

}  // namespace

void DefineStore(lua_State* lua) {
  static constexpr luaL_Reg kFunctions[] = {
      {"get", &Get}, {"set", &Set}, {"incr", &Increment}, {nullptr, nullptr}};
  lua_createtable(lua, 0, 3);
  luaL_setfuncs(lua, kFunctions, 0);
  lua_setglobal(lua, "store");
}

}  // namespace sallyport::policy
