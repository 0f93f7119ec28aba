#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <lua.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"
#include "policy/lua_memory.h"

namespace sallyport::policy {

/// What one entry into a script may cost. A step is about one instruction of Lua's machine, or as
/// much work in a library function.
struct Budget {
  int64_t steps = 0;
  std::chrono::milliseconds time{
      0};  ///< CPU time of the thread, so that a busy host denies nobody.
};

/// Declarations run once: loops over tables of thousands of hosts are fine.
inline constexpr Budget kLoadBudget{50'000'000, std::chrono::milliseconds(2000)};
/// A callback runs on the loop's thread, where all flows of the sandbox wait for it: a million
/// steps take about 10 ms, and 100 ms are left for slow machines and work in single instructions.
inline constexpr Budget kCallbackBudget{1'000'000, std::chrono::milliseconds(100)};
/// Everything the script holds. Far above any policy; the guest's data can't make it more.
inline constexpr size_t kMaxScriptMemory = size_t{16} << 20;

/// Why a script was ended.
struct ScriptError {
  std::string message;  ///< Without the place.
  int line = 0;         ///< 0 when it is not known.
  bool budget = false;  ///< A budget was spent, or the memory was.
};

/// A Lua state in which nothing runs without bounds: own allocator with a cap, restricted
/// libraries, and a budget for each entry. A spent budget ends the whole entry: pcall and xpcall of
/// the script can't catch it, and message handlers, finalizers and __close get nothing to run on.
///
/// C functions called by Lua may raise Lua errors (which are C++ exceptions here) and are never
/// noexcept. They reach this object through Of().
class LuaState {
 public:
  LuaState();
  ~LuaState();
  LuaState(const LuaState&) = delete;
  LuaState& operator=(const LuaState&) = delete;

  static LuaState& Of(lua_State* lua);

  /// Calls BODY(lua_State*), whose errors and overspending come back as an error. The stack is as
  /// before afterwards. Not from inside BODY.
  template <class Body>
  bool Run(const Budget& budget, ScriptError& error, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    return RunProtected(
        budget, error,
        [](lua_State* lua) {
          (*static_cast<Plain*>(lua_touserdata(lua, 1)))(lua);
          return 0;
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

  enum class Resumed { kFinished, kYielded, kFailed };
  /// Inside BODY, from LUA: starts or goes on with THREAD, a coroutine of this state, with the COUNT
  /// values on top of its stack (below them the function, for a start). Its budget is that of the
  /// entry. What it yields or returns is dropped; kFailed fills ERROR, and the thread is dead.
  Resumed Resume(lua_State* lua, lua_State* thread, int count, ScriptError& error);

  /// Takes STEPS off the budget, and raises the error when it is spent. For C functions whose work
  /// depends on their arguments.
  void Charge(int64_t steps);
  /// The same, without raising: the error follows at the next instruction.
  void ChargeLater(int64_t steps);
  /// Whether this entry's budget is spent; the error must then be passed on.
  bool spent() const { return spent_; }
  /// Raises the error of a spent budget.
  [[noreturn]] void RaiseSpent();

  /// Collects what loading left, and from now on garbage in steps that a callback can spare. Not from
  /// inside BODY.
  void Settle();

  /// What the state belongs to; set by its owner, null once that is gone.
  void* owner = nullptr;

  /// Forgets a reference made by luaL_ref; never raises.
  void Unref(int reference);

  size_t memory_used() const { return memory_.held(); }

 private:
  static void* Allocate(void* self, void* old, size_t old_size, size_t new_size);
  static void OnCount(lua_State* lua, lua_Debug* activation);
  static int OnError(lua_State* lua);
  bool RunProtected(const Budget& budget, ScriptError& error, lua_CFunction body, void* argument);
  void Begin(const Budget& budget);
  bool TimeIsUp();
  void MarkSpent();
  void ReadError(lua_State* lua, int status, ScriptError& error) const;

  lua_State* lua_ = nullptr;
  lua_State* running_ = nullptr;  ///< lua_, or the thread that it resumed.
  LuaMemory memory_{kMaxScriptMemory};
  bool entered_ = false;
  bool spent_ = false;
  int64_t steps_left_ = 0;
  int64_t steps_to_clock_ = 0;
  std::chrono::nanoseconds time_{0};
  std::chrono::steady_clock::time_point check_at_;
  std::optional<std::chrono::nanoseconds> cpu_end_;  ///< Set by the first look at the clock.
  int error_line_ = 0;
};

/// The line of the policy file that is running, as seen from a C function; 0 outside of any. While a
/// preset runs, that is the line that uses it.
int CurrentLine(lua_State* lua);
/// The line of the preset that is running; 0 outside of any.
int PresetLine(lua_State* lua);
/// How the chunk name of a preset begins.
inline constexpr char kPresetChunk[] = "=use ";

/// Opens what the policy language has of Lua's libraries: base without loading and printing,
/// string, table, math, utf8, with bounded versions of whatever works longer than its arguments
/// are long. To be called inside LuaState::Run.
void OpenSafeLibraries(lua_State* lua);
void OpenSafeStrings(lua_State* lua);
void OpenSafeTables(lua_State* lua);

/// Replaces each function of the table at INDEX by one that charges for its arguments first.
void ChargeFunctionsOf(lua_State* lua, int index);

}  // namespace sallyport::policy
