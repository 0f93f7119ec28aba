#include <algorithm>

#include "policy/declarations.h"
#include "policy/script_call.h"
#include "policy/script_headers.h"
#include "policy/script_host.h"

// The request object of on.request and accept(function(req)). A hook may change the method, the path,
// the query and end-to-end fields; framing belongs to the gate, and touching it is an error, never
// repaired. For on.response, where the request was sent, it can only be read.

namespace sallyport::policy {
namespace {

constexpr char kRequest[] = "sallyport.request";

// What a hook may build. The gate's own limits on what it sends are lower or equal.
constexpr size_t kMaxTarget = 64 * 1024;

// The call whose request is the object at 1, while it can still be changed.
Call& CheckChangeable(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kRequest);
  if (call.kind == Call::Kind::kResponse)
    luaL_error(lua, "the request was sent: on.response can only read it");
  return call;
}

// ---- Decisions.

int DenyRequest(lua_State* lua) {
  return DenyMessage(lua, CheckChangeable(lua), "req:deny");
}

void ReadResponseHeader(lua_State* lua, ResponseHead& response, const std::string& name,
                        int index) {
  if (!IsToken(name)) luaL_error(lua, "'%s' is not a header's name", Printable(name, 60).c_str());
  CheckNotFraming(lua, name);
  if (!IsList(lua, index)) return response.headers.Add(name, ReadFieldValue(lua, index, name));
  const auto count = static_cast<lua_Integer>(lua_rawlen(lua, index));
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_rawgeti(lua, index, i);
    response.headers.Add(name, ReadFieldValue(lua, -1, name));
    lua_pop(lua, 1);
    CheckHeaderSize(lua, response.headers);
  }
}

int RespondToRequest(lua_State* lua) {
  Call& call = CheckChangeable(lua);
  CheckUndecided(lua, call);
  if (lua_type(lua, 2) != LUA_TTABLE) {
    return luaL_error(lua, "req:respond takes { status = 200, headers = { ... }, body = \"...\" }");
  }
  Diagnostics diagnostics(HostOf(lua).file);
  TableReader reader(lua, 2, diagnostics, "req:respond", CurrentLine(lua));
  reader.Expect({"status", "headers", "body"});
  ResponseHead response;
  response.status = static_cast<int>(reader.Integer("status", 200, 599).value_or(200));
  std::string body = reader.String("body").value_or("");
  if (body.size() > kMaxScriptBody) reader.Error("the body is longer than 1 MiB");
  reader.ForEachField("headers", [&](const std::string& name, int index) {
    ReadResponseHeader(lua, response, name, index);
    CheckHeaderSize(lua, response.headers);
  });
  RaiseFirstError(lua, diagnostics);
  call.response = std::move(response);
  call.response_body = std::move(body);
  call.decision = Call::Decision::kResponded;
  return 0;
}

int AskRequest(lua_State* lua) {
  Call& call = CheckChangeable(lua);
  CheckUndecided(lua, call);
  return YieldForUser(lua, call, 2);
}

int RequestBody(lua_State* lua) {
  return ReadBodyOf(lua, CheckChangeable(lua), "req:body");
}

constexpr luaL_Reg kRequestFunctions[] = {{"deny", &DenyRequest},
                                          {"respond", &RespondToRequest},
                                          {"ask", &AskRequest},
                                          {"body", &RequestBody},
                                          {nullptr, nullptr}};

// ---- The request.

void PushText(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
}

void PushTls(lua_State* lua, const TlsFacts& tls) {
  if (!tls.encrypted) return lua_pushnil(lua);
  lua_createtable(lua, 0, 3);
  for (const auto& [field, value] : {std::pair("sni", &tls.sni), std::pair("alpn", &tls.alpn),
                                     std::pair("version", &tls.version)}) {
    PushText(lua, *value);
    lua_setfield(lua, -2, field);
  }
}

void PushRequestHost(lua_State* lua, const Facts& facts) {
  if (facts.name) return PushText(lua, facts.name->text());
  PushText(lua, facts.destination.address.ToString());
}

int IndexRequest(lua_State* lua) {
  const Call& call = CheckCall(lua, 1, kRequest);
  const RequestHead& request = *call.request;
  const std::string_view key = ViewString(lua, 2).value_or("");
  if (key == "method") {
    PushText(lua, request.method);
  } else if (key == "scheme") {
    PushText(lua, request.scheme);
  } else if (key == "host") {
    PushRequestHost(lua, *call.facts);
  } else if (key == "port") {
    lua_pushinteger(lua, call.facts->destination.port);
  } else if (key == "path") {
    PushText(lua, request.path);
  } else if (key == "query") {
    if (!request.query) return lua_pushnil(lua), 1;
    PushText(lua, *request.query);
  } else if (key == "headers") {
    PushHeaders(lua, HeadersOf::kRequest);
  } else if (key == "tls") {
    PushTls(lua, *call.tls);
  } else if (key == "conn") {
    PushConnection(lua);
  } else {
    return IndexFunction(
        lua, "a request",
        {"method", "scheme", "host", "port", "path", "query", "headers", "tls", "conn"});
  }
  return 1;
}

// What may stand in a request target: printable ASCII, without what ends or splits it.
bool IsTargetPart(std::string_view text, std::string_view refused) {
  return text.size() <= kMaxTarget && std::all_of(text.begin(), text.end(), [refused](char c) {
           return c > 0x20 && c < 0x7f && refused.find(c) == refused.npos;
         });
}

int AssignField(lua_State* lua) {
  Call& call = CheckChangeable(lua);
  RequestHead& request = *call.request;
  const std::string_view key = ViewString(lua, 2).value_or("");
  if (key == "method") {
    std::string method = ReadValue(lua, 3, "the method");
    if (!IsToken(method) || method.size() > 32 || IsNeverForwarded(method)) {
      return luaL_error(lua, "'%s' is not a method that a hook can set",
                        Printable(method, 40).c_str());
    }
    request.method = std::move(method);
  } else if (key == "path") {
    std::string path = ReadValue(lua, 3, "the path");
    if (!path.starts_with('/') || !IsTargetPart(path, "?#")) {
      return luaL_error(
          lua,
          "'%s' is not a path: it starts with '/', and has no '?', '#' or space (escape with %%)",
          Printable(path, 60).c_str());
    }
    request.path = std::move(path);
  } else if (key == "query") {
    if (lua_isnil(lua, 3)) {
      request.query.reset();
      return 0;
    }
    std::string query = ReadValue(lua, 3, "the query");
    if (!IsTargetPart(query, "#")) {
      return luaL_error(lua, "'%s' is not a query: it has no '#' or space (escape with %%)",
                        Printable(query, 60).c_str());
    }
    request.query = std::move(query);
  } else if (key == "body") {
    AssignBody(lua, call, "req.body");
  } else {
    return luaL_error(
        lua, "'%s' of a request can't be changed; method, path, query and headers[name] can",
        Printable(key, 60).c_str());
  }
  return 0;
}

constexpr luaL_Reg kRequestMetamethods[] = {
    {"__index", &IndexRequest}, {"__newindex", &AssignField}, {nullptr, nullptr}};
constexpr ObjectKind kRequestKind{kRequest, kRequestMetamethods, kRequestFunctions};

}  // namespace

void PushRequest(lua_State* lua) {
  PushObject(lua, kRequestKind);
}

}  // namespace sallyport::policy
