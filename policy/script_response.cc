#include "policy/script_call.h"
#include "policy/script_headers.h"
#include "policy/script_host.h"
#include "policy/table_reader.h"

// The response object of on.response: what the guest would get, with the values of secrets already
// taken out of it.

namespace sallyport::policy {
namespace {

constexpr char kResponse[] = "sallyport.response";

int DenyResponse(lua_State* lua) {
  return DenyMessage(lua, CheckCall(lua, 1, kResponse), "res:deny");
}

int ResponseBody(lua_State* lua) {
  return ReadBodyOf(lua, CheckCall(lua, 1, kResponse), "res:body");
}

constexpr luaL_Reg kResponseFunctions[] = {
    {"deny", &DenyResponse}, {"body", &ResponseBody}, {nullptr, nullptr}};

int IndexResponse(lua_State* lua) {
  const Call& call = CheckCall(lua, 1, kResponse);
  const std::string_view key = ViewString(lua, 2).value_or("");
  if (key == "status") {
    lua_pushinteger(lua, call.answer->status);
  } else if (key == "headers") {
    PushHeaders(lua, HeadersOf::kResponse);
  } else if (key == "request") {
    PushRequest(lua);
  } else {
    return IndexFunction(lua, "a response", {"status", "headers", "request"});
  }
  return 1;
}

int AssignResponse(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kResponse);
  const std::string_view key = ViewString(lua, 2).value_or("");
  if (key != "body") {
    return luaL_error(lua, "'%s' of a response can't be changed; body and headers[name] can",
                      Printable(key, 60).c_str());
  }
  AssignBody(lua, call, "res.body");
  return 0;
}

constexpr luaL_Reg kResponseMetamethods[] = {
    {"__index", &IndexResponse}, {"__newindex", &AssignResponse}, {nullptr, nullptr}};
constexpr ObjectKind kResponseKind{kResponse, kResponseMetamethods, kResponseFunctions};

}  // namespace

void PushResponse(lua_State* lua) {
  PushObject(lua, kResponseKind);
}

}  // namespace sallyport::policy
