#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/load.h"
#include "policy/script_call.h"
#include "policy/wait.h"

namespace sallyport::policy {

/// The functions of one event, run one after the other until one decides. Each is a coroutine, and
/// stops where it waits; each stretch between two waits has the whole budget of a callback.
class HookRun {
 public:
  struct Function {
    int reference = LUA_NOREF;
    std::string id;
  };
  enum class State { kDone, kWaiting, kFailed };

  /// CALL points to what outlives this.
  HookRun(std::shared_ptr<LoadedScript> script, std::vector<Function> functions, Call call);
  ~HookRun();
  HookRun(const HookRun&) = delete;
  HookRun& operator=(const HookRun&) = delete;

  State Start();
  /// After kWaiting. Fails where the policy was replaced meanwhile.
  State Resume(WaitResult result);

  /// What was decided, for kDone.
  Call& call() { return call_; }
  /// For kWaiting.
  const Wait& wait() const { return *call_.wait; }
  /// The function that decided, waits or failed; empty when none decided.
  const std::string& id() const { return id_; }
  /// "policy.lua:12: what went wrong", for kFailed.
  const std::string& failure() const { return failure_; }

 private:
  State Go();
  void RunFunctions(lua_State* lua);
  bool RunOne(lua_State* lua);
  void Begin(lua_State* lua);
  void TakeThread(lua_State* lua);
  void PutThreadAside(lua_State* lua);
  void DropThread();
  void Fail(const ScriptError& error);

  std::shared_ptr<LoadedScript> script_;
  const std::vector<Function> functions_;
  Call call_;
  size_t next_ = 0;
  lua_State* thread_ = nullptr;  // Of the function that runs or waits.
  int thread_reference_ = LUA_NOREF;
  size_t waits_ = 0;
  std::string id_;
  std::string failure_;
};

}  // namespace sallyport::policy
