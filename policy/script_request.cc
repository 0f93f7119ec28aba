#include <algorithm>

#include "policy/declarations.h"
#include "policy/framing_headers.h"
#include "policy/script_call.h"
#include "policy/script_host.h"

// The request object of on.request and accept(function(req)), and its headers. A hook may change
// the method, the path, the query and end-to-end fields; framing belongs to the gate, and touching
// it is an error, never repaired.

namespace sallyport::policy {
namespace {

constexpr char kRequest[] = "sallyport.request";
constexpr char kHeaders[] = "sallyport.headers";

// What a hook may build. The gate's own limits on what it sends are lower or equal.
constexpr size_t kMaxFields = 256;
constexpr size_t kMaxValue = 64 * 1024;
constexpr size_t kMaxHeaderBytes = 256 * 1024;
constexpr size_t kMaxTarget = 64 * 1024;
constexpr size_t kMaxBody = size_t{1} << 20;

// ---- Headers.

// The text of the value at INDEX: a string, a number, or a secret's handle.
std::string ReadValue(lua_State* lua, int index, const char* what) {
  if (IsSecretHandle(lua, index)) {
    PushPlaceholder(lua, index);
  } else if (lua_type(lua, index) == LUA_TSTRING || lua_type(lua, index) == LUA_TNUMBER) {
    lua_pushvalue(lua, index);
    lua_tolstring(lua, -1, nullptr);
  } else {
    luaL_error(lua, "%s must be a string, not %s", what, DescribeType(lua, index).c_str());
  }
  std::string value = ReadString(lua, -1).value_or("");
  lua_pop(lua, 1);
  return value;
}

std::string ReadFieldValue(lua_State* lua, int index, const std::string& name) {
  const std::string what = "the header '" + name + "'";
  std::string value = ReadValue(lua, index, what.c_str());
  if (!IsFieldValue(value) || value.size() > kMaxValue) {
    luaL_error(lua, "%s can't hold this value (line breaks, control characters, or too long)",
               what.c_str());
  }
  return value;
}

std::string ReadFieldName(lua_State* lua, int index) {
  const auto name = ReadString(lua, index);
  if (!name || !IsToken(*name) || name->size() > 256) {
    luaL_error(lua, "%s is not a header's name", DescribeType(lua, index).c_str());
  }
  return *name;
}

void CheckNotFraming(lua_State* lua, const std::string& name) {
  if (IsFramingHeader(name))
    luaL_error(lua, "the header '%s' belongs to the gate: a hook can't touch it", name.c_str());
}

void CheckHeaderSize(lua_State* lua, const Headers& headers) {
  size_t bytes = 0;
  for (const HeaderField& field : headers.fields()) bytes += field.name.size() + field.value.size();
  LuaState::Of(lua).Charge(static_cast<int64_t>(headers.fields().size()));
  if (headers.fields().size() > kMaxFields || bytes > kMaxHeaderBytes)
    luaL_error(lua, "too many headers");
}

// All fields of a name count: a check of the first one alone could be got around with a second.
int IndexHeaders(lua_State* lua) {
  const Call& call = CheckCall(lua, 1, kHeaders);
  const std::string name = ReadFieldName(lua, 2);
  const auto values = call.request->headers.FindAll(name);
  LuaState::Of(lua).Charge(static_cast<int64_t>(call.request->headers.fields().size()));
  if (values.empty()) {
    lua_pushnil(lua);
    return 1;
  }
  std::string joined(values.front());
  const char* separator = EqualsIgnoreCase(name, "cookie") ? "; " : ", ";
  for (size_t i = 1; i < values.size(); ++i) joined.append(separator).append(values[i]);
  lua_pushlstring(lua, joined.data(), joined.size());
  return 1;
}

int AssignHeader(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kHeaders);
  const std::string name = ReadFieldName(lua, 2);
  CheckNotFraming(lua, name);
  Headers& headers = call.request->headers;
  LuaState::Of(lua).Charge(static_cast<int64_t>(headers.fields().size()));
  if (lua_isnil(lua, 3)) {
    headers.Remove(name);
    return 0;
  }
  if (lua_type(lua, 3) != LUA_TTABLE) {
    headers.Set(name, ReadFieldValue(lua, 3, name));
    CheckHeaderSize(lua, headers);
    return 0;
  }
  if (!IsList(lua, 3))
    return luaL_error(lua, "the header '%s' takes a string or a list of strings", name.c_str());
  headers.Remove(name);
  const auto count = static_cast<lua_Integer>(lua_rawlen(lua, 3));
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_rawgeti(lua, 3, i);
    headers.Add(name, ReadFieldValue(lua, -1, name));
    lua_pop(lua, 1);
    CheckHeaderSize(lua, headers);
  }
  return 0;
}

// Upvalues: the headers object, the position.
int NextHeader(lua_State* lua) {
  const Call& call = CheckCall(lua, lua_upvalueindex(1), kHeaders);
  const auto position = static_cast<size_t>(lua_tointeger(lua, lua_upvalueindex(2)));
  const auto& fields = call.request->headers.fields();
  if (position >= fields.size()) return 0;
  lua_pushinteger(lua, static_cast<lua_Integer>(position) + 1);
  lua_replace(lua, lua_upvalueindex(2));
  std::string name = fields[position].name;
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  lua_pushlstring(lua, name.data(), name.size());
  lua_pushlstring(lua, fields[position].value.data(), fields[position].value.size());
  return 2;
}

int HeaderPairs(lua_State* lua) {
  CheckCall(lua, 1, kHeaders);
  lua_settop(lua, 1);
  lua_pushinteger(lua, 0);
  lua_pushcclosure(lua, &NextHeader, 2);
  return 1;
}

constexpr luaL_Reg kHeaderMetamethods[] = {{"__index", &IndexHeaders},
                                           {"__newindex", &AssignHeader},
                                           {"__pairs", &HeaderPairs},
                                           {nullptr, nullptr}};
constexpr luaL_Reg kNoFunctions[] = {{nullptr, nullptr}};
constexpr ObjectKind kHeadersKind{kHeaders, kHeaderMetamethods, kNoFunctions};

// ---- Decisions.

void RaiseFirstError(lua_State* lua, Diagnostics& diagnostics) {
  if (!diagnostics.has_errors()) return;
  for (const Diagnostic& diagnostic : diagnostics.Take()) {
    if (diagnostic.severity == Diagnostic::Severity::kError)
      luaL_error(lua, "%s", diagnostic.message.c_str());
  }
}

int DenyRequest(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kRequest);
  CheckUndecided(lua, call);
  if (lua_type(lua, 2) == LUA_TTABLE) {
    Diagnostics diagnostics(HostOf(lua).file);
    TableReader reader(lua, 2, diagnostics, "req:deny", CurrentLine(lua));
    reader.Expect({"status", "reason"});
    call.status = static_cast<int>(reader.Integer("status", 400, 599).value_or(403));
    call.reason = Printable(reader.String("reason").value_or(""), 500);
    RaiseFirstError(lua, diagnostics);
  } else if (const auto reason = ReadString(lua, 2)) {
    call.reason = Printable(*reason, 500);
  } else if (!lua_isnoneornil(lua, 2)) {
    return luaL_error(lua, "req:deny takes { status = 403, reason = \"...\" }");
  }
  call.decision = Call::Decision::kDenied;
  return 0;
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
  Call& call = CheckCall(lua, 1, kRequest);
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
  if (body.size() > kMaxBody) reader.Error("the body is longer than 1 MiB");
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
  Call& call = CheckCall(lua, 1, kRequest);
  CheckUndecided(lua, call);
  return YieldForUser(lua, call, 2);
}

int AfterBody(lua_State* lua, int, lua_KContext) {
  const auto* body = std::get_if<ReadBody>(&HostOf(lua).call->result);
  if (body == nullptr || !body->bytes) {
    lua_pushnil(lua);
  } else {
    lua_pushlstring(lua, body->bytes->data(), body->bytes->size());
  }
  return 1;
}

int RequestBody(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kRequest);
  if (call.new_body) {
    lua_pushlstring(lua, call.new_body->data(), call.new_body->size());
    return 1;
  }
  const lua_Integer max = luaL_optinteger(lua, 2, static_cast<lua_Integer>(kMaxScriptBody));
  if (max < 1 || max > static_cast<lua_Integer>(kMaxScriptBody))
    return luaL_error(lua, "req:body takes the most bytes that it may have, up to 1 MiB");
  return YieldFor(lua, call, BodyWait{static_cast<size_t>(max)}, &AfterBody);
}

void AssignBody(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kRequest);
  auto body = ReadString(lua, 3);
  if (!body || body->size() > kMaxScriptBody)
    luaL_error(lua, "req.body takes a string of at most 1 MiB");
  call.new_body = *std::move(body);
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
  const std::string key = ReadString(lua, 2).value_or("");
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
    PushObject(lua, kHeadersKind);
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
  Call& call = CheckCall(lua, 1, kRequest);
  RequestHead& request = *call.request;
  const std::string key = ReadString(lua, 2).value_or("");
  if (key == "method") {
    std::string method = ReadValue(lua, 3, "the method");
    if (!IsToken(method) || method.size() > 32 || method == "CONNECT" || method == "TRACE") {
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
    AssignBody(lua);
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
