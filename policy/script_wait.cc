#include <cstdlib>

#include "policy/declarations.h"
#include "policy/script_call.h"
#include "policy/script_headers.h"
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

// ---- fetch.

int AfterFetch(lua_State* lua, int, lua_KContext) {
  const auto* fetched = std::get_if<Fetched>(&HostOf(lua).call->result);
  if (fetched == nullptr || !fetched->error.empty()) {
    lua_pushnil(lua);
    lua_pushstring(lua, fetched != nullptr ? fetched->error.c_str() : "it was not made");
    return 2;
  }
  lua_createtable(lua, 0, 3);
  lua_pushinteger(lua, fetched->status);
  lua_setfield(lua, -2, "status");
  lua_pushlstring(lua, fetched->body.data(), fetched->body.size());
  lua_setfield(lua, -2, "body");
  PushFields(lua, fetched->headers);
  lua_setfield(lua, -2, "headers");
  return 1;
}

std::chrono::milliseconds ReadTimeout(TableReader& reader) {
  const auto text = reader.String("timeout");
  if (!text) return kFetchTimeout;
  const auto time = ParseDuration(*text);
  if (time && *time > std::chrono::milliseconds(0) && *time <= kMaxFetchTimeout) return *time;
  reader.Error("'timeout' is a time of at most a minute, as in timeout = \"5s\"");
  return kFetchTimeout;
}

FetchWait ReadFetch(lua_State* lua) {
  if (lua_type(lua, 1) != LUA_TTABLE)
    luaL_error(lua, "fetch takes a table, as in fetch { url = \"https://api.example.com/\" }");
  Diagnostics diagnostics(HostOf(lua).file);
  TableReader reader(lua, 1, diagnostics, "fetch", CurrentLine(lua));
  reader.Expect({"url", "method", "headers", "body", "timeout"});
  FetchWait wanted;
  const auto url = HttpUrl::Parse(reader.String("url").value_or(""));
  if (url) {
    wanted.url = *url;
  } else {
    reader.Error("'url': " + url.error().message());
  }
  wanted.body = reader.String("body").value_or("");
  wanted.method = reader.String("method").value_or(wanted.body.empty() ? "GET" : "POST");
  if (!IsToken(wanted.method) || wanted.method.size() > 32)
    reader.Error("'method' is not a method");
  if (wanted.body.size() > kMaxScriptBody) reader.Error("'body' is longer than 1 MiB");
  wanted.timeout = ReadTimeout(reader);
  reader.ForEachField("headers", [&](const std::string& name, int index) {
    if (!IsToken(name)) return reader.Error("'headers': a name is not a header's");
    CheckNotFraming(lua, name);
    wanted.headers.Add(name, ReadFieldValue(lua, index, name));
    CheckHeaderSize(lua, wanted.headers);
  });
  RaiseFirstError(lua, diagnostics);
  wanted.rule = HostOf(lua).file + ":" + std::to_string(CurrentLine(lua));
  return wanted;
}

int MakeFetch(lua_State* lua) {
  Call& call = CurrentCall(lua, "fetch");
  if (call.kind == Call::Kind::kName) {
    return luaL_error(lua,
                      "fetch can't wait while a name is looked up; match the connection first, as "
                      "in conn:match_http(\"api.example.com\")");
  }
  return YieldFor(lua, call, ReadFetch(lua), &AfterFetch);
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
  return YieldFor(
      lua, call,
      AskWait{.message = Printable(message.value_or(""), 500), .rule = rule, .place = rule},
      &AfterUser);
}

void DefineWaits(lua_State* lua) {
  lua_pushcfunction(lua, &MakeFetch);
  lua_setglobal(lua, "fetch");
  lua_pushcfunction(lua, &Sleep);
  lua_setglobal(lua, "sleep");
}

}  // namespace sallyport::policy
