#include "policy/lua_state.h"

#include <ctime>

#include <cstdlib>

#include "base/check.h"

// How a script is bounded.
//
// Steps: a count hook takes kHookInterval steps each time; library functions whose work depends on
// their arguments charge for it (Charge), and so does the allocator, by the byte, because one
// instruction may copy megabytes ("a" .. b). Where raising is impossible (allocator) the hook is
// set to fire at the next instruction.
//
// A spent budget is sticky until the entry ends: the hook then fires at every instruction, each
// charging function raises, and the script's pcall and xpcall are wrappers that pass the error on
// (lua_library.cc). Two places where Lua runs code without the hook stay empty: finalizers
// (setmetatable refuses __gc) and message handlers called while the hook itself raises (xpcall's
// handler is ours, and calls the script's one only for errors of another kind). __close handlers
// run after the hook is back, and fall to it at their first instruction.
//
// Time is measured as CPU time of the thread; the wall clock, which is cheap, tells when to look.

namespace sallyport::policy {
namespace {

// Often enough that single expensive instructions add up to milliseconds, not seconds; no
// difference was measured between 100 and 10,000.
constexpr int kHookInterval = 100;
constexpr int64_t kStepsPerClock = 4096;
// Copying or clearing 16 bytes costs about as much as an instruction.
constexpr size_t kBytesPerStep = 16;
// A refused allocation makes Lua collect all garbage, up to the whole of kMaxScriptMemory.
constexpr int64_t kRefusalSteps = 20'000;

constexpr char kSpentMessage[] = "the budget of steps or time is spent";

std::chrono::nanoseconds CpuTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Only reached when Lua raises outside of Run(), which is our own mistake.
int OnPanic(lua_State*) {
  std::abort();
}

}  // namespace

LuaState::LuaState() {
  lua_ = lua_newstate(&Allocate, this);
  SALLYPORT_CHECK(lua_ != nullptr);
  lua_atpanic(lua_, &OnPanic);
  running_ = lua_;
  *static_cast<LuaState**>(lua_getextraspace(lua_)) = this;
}

LuaState::~LuaState() {
  lua_close(lua_);
}

LuaState& LuaState::Of(lua_State* lua) {
  return **static_cast<LuaState**>(lua_getextraspace(lua));
}

void* LuaState::Allocate(void* self, void* old, size_t old_size, size_t new_size) {
  auto& state = *static_cast<LuaState*>(self);
  const size_t had = old == nullptr ? 0 : old_size;  // Without OLD, OLD_SIZE is a type.
  void* block = state.memory_.Resize(old, had, new_size);
  if (new_size > had) {
    state.ChargeLater(block != nullptr ? static_cast<int64_t>(new_size / kBytesPerStep)
                                       : kRefusalSteps);
  }
  return block;
}

void LuaState::Begin(const Budget& budget) {
  spent_ = false;
  error_line_ = 0;
  steps_left_ = budget.steps;
  steps_to_clock_ = kStepsPerClock;
  time_ = budget.time;
  cpu_end_.reset();
}

bool LuaState::TimeIsUp() {
  const auto now = std::chrono::steady_clock::now();
  if (cpu_end_ && now < check_at_) return false;
  const auto cpu = CpuTime();
  // Most callbacks end before the first look, and never ask the kernel.
  if (!cpu_end_) cpu_end_ = cpu + time_;
  const auto left = *cpu_end_ - cpu;
  if (left <= std::chrono::nanoseconds(0)) return true;
  check_at_ = now + left;
  return false;
}

void LuaState::MarkSpent() {
  spent_ = true;
  lua_sethook(running_, &OnCount, LUA_MASKCOUNT, 1);
}

void LuaState::ChargeLater(int64_t steps) {
  if (!entered_ || spent_) return;
  steps_left_ -= steps;
  steps_to_clock_ -= steps;
  if (steps_left_ < 0) return MarkSpent();
  if (steps_to_clock_ > 0) return;
  steps_to_clock_ = kStepsPerClock;
  if (TimeIsUp()) MarkSpent();
}

void LuaState::Charge(int64_t steps) {
  ChargeLater(steps);
  if (spent_) RaiseSpent();
}

void LuaState::RaiseSpent() {
  luaL_error(running_, kSpentMessage);
  std::abort();  // Not reached: luaL_error does not return.
}

void LuaState::OnCount(lua_State* lua, lua_Debug*) {
  LuaState& state = Of(lua);
  state.ChargeLater(kHookInterval);
  // The clock at each turn of the hook: an instruction may have taken a millisecond.
  if (!state.spent_ && state.TimeIsUp()) state.MarkSpent();
  if (state.spent_) state.RaiseSpent();
}

// The message handler of every entry: notes the line while the failed call still stands.
int LuaState::OnError(lua_State* lua) {
  LuaState& state = Of(lua);
  if (state.error_line_ == 0) state.error_line_ = CurrentLine(lua);
  return 1;
}

bool LuaState::RunProtected(const Budget& budget, ScriptError& error, lua_CFunction body,
                            void* argument) {
  SALLYPORT_CHECK(!entered_);
  entered_ = true;
  Begin(budget);
  lua_sethook(lua_, &OnCount, LUA_MASKCOUNT, kHookInterval);
  // None of these allocates, so none can raise: Lua guarantees the stack slots.
  lua_pushcfunction(lua_, &OnError);
  lua_pushcfunction(lua_, body);
  lua_pushlightuserdata(lua_, argument);
  const int status = lua_pcall(lua_, 1, 0, 1);
  entered_ = false;
  const bool succeeded = status == LUA_OK && !spent_;
  if (!succeeded) {
    error.line = error_line_;
    ReadError(lua_, status, error);
  }
  lua_settop(lua_, 0);
  return succeeded;
}

void LuaState::ReadError(lua_State* lua, int status, ScriptError& error) const {
  error.budget = spent_ || status == LUA_ERRMEM;
  // A number is not converted, which would allocate.
  if (status != LUA_OK && lua_type(lua, -1) == LUA_TSTRING) {
    size_t length = 0;
    const char* text = lua_tolstring(lua, -1, &length);
    error.message.assign(text, length);
  } else {
    error.message = spent_ ? kSpentMessage : "the error is not a string";
  }
  if (status == LUA_ERRMEM) error.message = "the memory of the script is spent";
}

LuaState::Resumed LuaState::Resume(lua_State* lua, lua_State* thread, int count,
                                   ScriptError& error) {
  SALLYPORT_CHECK(entered_ && running_ == lua);
  if (spent_) RaiseSpent();
  lua_sethook(thread, &OnCount, LUA_MASKCOUNT, kHookInterval);
  running_ = thread;
  int results = 0;
  const int status = lua_resume(thread, lua, count, &results);
  running_ = lua;
  if (status == LUA_OK || status == LUA_YIELD) {
    lua_pop(thread, results);
    if (spent_) RaiseSpent();
    return status == LUA_OK ? Resumed::kFinished : Resumed::kYielded;
  }
  // The stack of a coroutine still stands after an error.
  error.line = CurrentLine(thread);
  ReadError(thread, status, error);
  return Resumed::kFailed;
}

void LuaState::Settle() {
  // A power of two of bytes are asked for between two steps; with Lua's own 8 KiB, one in a hundred
  // callbacks takes three times as long as the others.
  constexpr int kStepSize = 10;
  SALLYPORT_CHECK(!entered_);
  lua_gc(lua_, LUA_GCCOLLECT);
  lua_gc(lua_, LUA_GCINC, 0, 0, kStepSize);
}

void LuaState::Unref(int reference) {
  if (entered_) {
    // Inside a run of this state; only what exists already is written, and that does not raise.
    luaL_unref(lua_, LUA_REGISTRYINDEX, reference);
    return;
  }
  ScriptError ignored;
  Run(kCallbackBudget, ignored,
      [reference](lua_State* lua) { luaL_unref(lua, LUA_REGISTRYINDEX, reference); });
}

int CurrentLine(lua_State* lua) {
  lua_Debug activation;
  for (int level = 0; lua_getstack(lua, level, &activation) != 0; ++level) {
    lua_getinfo(lua, "l", &activation);
    if (activation.currentline <= 0) continue;
    lua_getinfo(lua, "S", &activation);
    const bool in_preset = std::string_view(activation.source).starts_with(kPresetChunk);
    if (!in_preset) return activation.currentline;
  }
  return 0;
}

int PresetLine(lua_State* lua) {
  lua_Debug activation;
  for (int level = 0; lua_getstack(lua, level, &activation) != 0; ++level) {
    lua_getinfo(lua, "Sl", &activation);
    if (activation.currentline <= 0) continue;
    const bool in_preset = std::string_view(activation.source).starts_with(kPresetChunk);
    return in_preset ? activation.currentline : 0;
  }
  return 0;
}

}  // namespace sallyport::policy
