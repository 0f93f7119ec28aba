#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "policy/engine.h"
#include "policy/lua_state.h"

namespace sallyport::policy {

struct Loader;
struct Call;

/// What callbacks keep by store.set: for the sandbox's life, over reloads of its policy.
struct Store {
  using Value = std::variant<bool, int64_t, double, std::string>;
  std::map<std::string, Value, std::less<>> values;
  size_t size = 0;  ///< Bytes of all of them.
};

/// What the C functions of a script work on: a Loader while its file runs, a Call while a callback
/// does. LuaState::owner points to it.
struct ScriptHost {
  std::string file;          ///< "policy.lua"; Lua itself knows the chunk as kChunkName.
  Loader* loader = nullptr;  ///< While the file runs.
  Call* call = nullptr;      ///< While a callback runs.
  uint64_t generation = 0;   ///< Of the latest event whose callbacks were run.
  lua_State* spare_thread = nullptr;  ///< A coroutine that came to its end, for the next callback,
  int spare_reference = LUA_NOREF;    ///< and what keeps it in the registry.
  std::shared_ptr<Store> store = std::make_shared<Store>();
  LogSink log;                 ///< Takes what log.info and log.warn say.
  std::vector<LogLine> early;  ///< Said before there was a `log`.
  std::map<std::string, std::string, std::less<>> placeholders;  ///< By the secret's name.
};

/// Short, as Lua cuts long names in its messages; they are given the file's name afterwards.
inline constexpr char kChunkName[] = "=policy";

ScriptHost& HostOf(lua_State* lua);

/// MESSAGE without the "policy:12: " that Lua puts before it; LINE becomes 12 if it is 0.
std::string WithoutPlace(const std::string& message, int& line);

/// Pushes the handle of secret NAME: to the script an opaque value that turns into the placeholder.
void PushSecretHandle(lua_State* lua, const std::string& name);
bool IsSecretHandle(lua_State* lua, int index);
/// Pushes the placeholder of the handle at INDEX; raises while the file loads, or without one.
void PushPlaceholder(lua_State* lua, int index);

}  // namespace sallyport::policy
