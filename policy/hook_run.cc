#include "policy/hook_run.h"

#include <utility>

#include "policy/script_host.h"

namespace sallyport::policy {

HookRun::HookRun(std::shared_ptr<LoadedScript> script, std::vector<Function> functions, Call call)
    : script_(std::move(script)), functions_(std::move(functions)), call_(std::move(call)) {}

HookRun::~HookRun() {
  DropThread();
  if (call_.function != LUA_NOREF) script_->state->Unref(call_.function);
}

HookRun::State HookRun::Start() {
  call_.generation = ++script_->host->generation;
  return Go();
}

HookRun::State HookRun::Resume(WaitResult result) {
  call_.wait.reset();
  call_.result = std::move(result);
  if (script_->replaced()) {
    failure_ = kReplaced;
    return State::kFailed;
  }
  return Go();
}

HookRun::State HookRun::Go() {
  ScriptHost& host = *script_->host;
  host.call = &call_;
  ScriptError error;
  const bool ran = script_->state->Run(kCallbackBudget, error,
                                       [this](lua_State* lua) { RunFunctions(lua); });
  host.call = nullptr;
  if (!ran && failure_.empty()) Fail(error);
  if (!failure_.empty()) {
    DropThread();
    return State::kFailed;
  }
  if (!call_.wait) return State::kDone;
  if (++waits_ <= kMaxWaits) return State::kWaiting;
  failure_ = id_ + ": it waits more than " + std::to_string(kMaxWaits) + " times";
  DropThread();
  return State::kFailed;
}

void HookRun::RunFunctions(lua_State* lua) {
  while (next_ < functions_.size()) {
    id_ = functions_[next_].id;
    if (!RunOne(lua)) return;
    ++next_;
    if (call_.decision != Call::Decision::kNone) return;
  }
  id_.clear();
}

/// Whether the function came to its end.
bool HookRun::RunOne(lua_State* lua) {
  const bool starts = thread_ == nullptr;
  if (starts) Begin(lua);
  ScriptError error;
  switch (script_->state->Resume(lua, thread_, starts ? 1 : 0, error)) {
    case LuaState::Resumed::kYielded:
      return false;
    case LuaState::Resumed::kFailed:
      // Not an error, but the way that a refused question ends its function.
      if (call_.refused_by_user && !error.budget) break;
      Fail(error);
      return false;
    case LuaState::Resumed::kFinished:
      break;
  }
  PutThreadAside(lua);
  if (call_.decision == Call::Decision::kNone && call_.fallback) {
    call_.accepted = std::move(call_.fallback);
    call_.decision = Call::Decision::kAccepted;
  }
  return true;
}

// A coroutine whose function returned is as good as a new one, and costs no garbage. One that failed,
// was ended by a refusal or is left waiting is never used again.
void HookRun::PutThreadAside(lua_State* lua) {
  ScriptHost& host = *script_->host;
  lua_State* thread = std::exchange(thread_, nullptr);
  const int reference = std::exchange(thread_reference_, LUA_NOREF);
  if (host.spare_thread == nullptr && lua_status(thread) == LUA_OK && lua_gettop(thread) == 0) {
    host.spare_thread = thread;
    host.spare_reference = reference;
    return;
  }
  luaL_unref(lua, LUA_REGISTRYINDEX, reference);
}

void HookRun::TakeThread(lua_State* lua) {
  ScriptHost& host = *script_->host;
  if (host.spare_thread != nullptr) {
    thread_ = std::exchange(host.spare_thread, nullptr);
    thread_reference_ = std::exchange(host.spare_reference, LUA_NOREF);
    return;
  }
  lua_State* thread = lua_newthread(lua);
  thread_reference_ = luaL_ref(lua, LUA_REGISTRYINDEX);
  thread_ = thread;
}

void HookRun::Begin(lua_State* lua) {
  TakeThread(lua);
  lua_rawgeti(lua, LUA_REGISTRYINDEX, functions_[next_].reference);
  switch (call_.kind) {
    case Call::Kind::kName:
    case Call::Kind::kFlow:
      PushConnection(lua);
      break;
    case Call::Kind::kRequest:
      PushRequest(lua);
      break;
    case Call::Kind::kResponse:
      PushResponse(lua);
      break;
  }
  lua_xmove(lua, thread_, 2);
}

void HookRun::DropThread() {
  thread_ = nullptr;
  if (thread_reference_ == LUA_NOREF) return;
  script_->state->Unref(std::exchange(thread_reference_, LUA_NOREF));
}

void HookRun::Fail(const ScriptError& error) {
  int line = error.line;
  const std::string message = WithoutPlace(error.message, line);
  const std::string& file = script_->host->file;
  failure_ = line > 0 ? file + ":" + std::to_string(line) + ": " + message : message;
  if (failure_.empty()) failure_ = "unknown error";
}

}  // namespace sallyport::policy
