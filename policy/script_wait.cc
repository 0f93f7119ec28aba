#include <cstdlib>

#include "policy/declarations.h"
#include "policy/script_call.h"
#include "policy/script_host.h"

// Calls that wait: they stop their function, which is a coroutine, and let other flows go on.

namespace sallyport::policy {
namespace {

/// The call of the callback that runs. Raises while the file loads.
Call& CurrentCall(lua_State* lua, const char* what) {
  Call* call = HostOf(lua).call;
  if (call == nullptr) {
    luaL_error(lua, "%s is for callbacks: nothing can wait while the file is read", what);
    std::abort();  // Not reached: luaL_error does not return.
  }
  return *call;
}

int ReturnNothing(lua_State*, int, lua_KContext) {
  return 0;
}

int Sleep(lua_State* lua) {
  Call& call = CurrentCall(lua, "sleep");
  const auto text = ReadString(lua, 1);
  const auto time = text ? ParseDuration(*text) : std::nullopt;
  if (!time || *time > kMaxSleep) {
    return luaL_error(lua, "sleep takes a time of at most a minute, as in sleep \"500ms\"");
  }
  // A question about a name is answered at once.
  if (call.kind == Call::Kind::kName) return 0;
  return YieldFor(lua, call, SleepWait{*time}, &ReturnNothing);
}

int AfterUser(lua_State* lua, int, lua_KContext) {
  Call& call = *HostOf(lua).call;
  const Approval* answer = std::get_if<Approval>(&call.result);
  call.approval = answer != nullptr ? *answer : Approval::kPending;
  if (call.approval == Approval::kApproved) {
    lua_pushboolean(lua, 1);
    return 1;
  }
  call.decision = Call::Decision::kDenied;
  call.refused_by_user = true;
  return luaL_error(lua, "the user has not said yes");
}

}  // namespace

int YieldFor(lua_State* lua, Call& call, Wait what, lua_KFunction next) {
  if (lua_isyieldable(lua) == 0) {
    return luaL_error(lua,
                      "a function that string.gsub, table.sort or a match calls can't wait; "
                      "wait before or after it");
  }
  call.wait = std::move(what);
  return lua_yieldk(lua, 0, 0, next);
}

int YieldForUser(lua_State* lua, Call& call, int index) {
  const auto message = ReadString(lua, index);
  if (!message && !lua_isnoneornil(lua, index)) {
    return luaL_error(lua, "ask takes the question, as in ask \"call Stripe?\"");
  }
  const std::string rule = HostOf(lua).file + ":" + std::to_string(CurrentLine(lua));
  return YieldFor(lua, call, AskWait{.message = Printable(message.value_or(""), 500), .rule = rule},
                  &AfterUser);
}

void DefineWaits(lua_State* lua) {
  lua_pushcfunction(lua, &Sleep);
  lua_setglobal(lua, "sleep");
}

}  // namespace sallyport::policy
