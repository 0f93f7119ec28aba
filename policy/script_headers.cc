#include "policy/script_headers.h"

#include "policy/declarations.h"
#include "policy/framing_headers.h"
#include "policy/script_host.h"

// The fields of a message as scripts see them, and what the objects of both messages share.

namespace sallyport::policy {
namespace {

constexpr char kHeaders[] = "sallyport.headers";

// What a hook may build. The gate's own limits on what it sends are lower or equal.
constexpr size_t kMaxFields = 256;
constexpr size_t kMaxValue = 64 * 1024;
constexpr size_t kMaxHeaderBytes = 256 * 1024;

// The fields that the object at INDEX stands for.
Headers& CheckHeaders(lua_State* lua, int index) {
  Call& call = CheckCall(lua, index, kHeaders);
  const auto which = static_cast<HeadersOf>(ObjectNumber(lua, index));
  return which == HeadersOf::kRequest ? call.request->headers : call.answer->headers;
}

std::string ReadFieldName(lua_State* lua, int index) {
  const auto name = ReadString(lua, index);
  if (!name || !IsToken(*name) || name->size() > 256) {
    luaL_error(lua, "%s is not a header's name", DescribeType(lua, index).c_str());
  }
  return *name;
}

}  // namespace

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

namespace {

// All fields of a name count: a check of the first one alone could be got around with a second.
int IndexHeaders(lua_State* lua) {
  const Headers& headers = CheckHeaders(lua, 1);
  const std::string name = ReadFieldName(lua, 2);
  const auto values = headers.FindAll(name);
  LuaState::Of(lua).Charge(static_cast<int64_t>(headers.fields().size()));
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
  Headers& headers = CheckHeaders(lua, 1);
  if (ObjectNumber(lua, 1) == static_cast<size_t>(HeadersOf::kRequest) &&
      HostOf(lua).call->kind == Call::Kind::kResponse) {
    return luaL_error(lua, "the request was sent: on.response can only read it");
  }
  const std::string name = ReadFieldName(lua, 2);
  CheckNotFraming(lua, name);
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
  const Headers& headers = CheckHeaders(lua, lua_upvalueindex(1));
  const auto position = static_cast<size_t>(lua_tointeger(lua, lua_upvalueindex(2)));
  const auto& fields = headers.fields();
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
  CheckHeaders(lua, 1);
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

}  // namespace

void PushFields(lua_State* lua, const Headers& headers) {
  lua_createtable(lua, 0, 8);
  for (const HeaderField& field : headers.fields()) {
    std::string name = field.name;
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    std::string value = field.value;
    lua_getfield(lua, -1, name.c_str());
    if (const auto before = ReadString(lua, -1)) value = *before + ", " + value;
    lua_pop(lua, 1);
    lua_pushlstring(lua, value.data(), value.size());
    lua_setfield(lua, -2, name.c_str());
  }
}

void PushHeaders(lua_State* lua, HeadersOf which) {
  PushObject(lua, kHeadersKind, static_cast<size_t>(which));
}

int DenyMessage(lua_State* lua, Call& call, const char* what) {
  CheckUndecided(lua, call);
  if (lua_type(lua, 2) == LUA_TTABLE) {
    Diagnostics diagnostics(HostOf(lua).file);
    TableReader reader(lua, 2, diagnostics, what, CurrentLine(lua));
    reader.Expect({"status", "reason"});
    call.status = static_cast<int>(reader.Integer("status", 400, 599).value_or(403));
    call.reason = Printable(reader.String("reason").value_or(""), 500);
    RaiseFirstError(lua, diagnostics);
  } else if (const auto reason = ReadString(lua, 2)) {
    call.reason = Printable(*reason, 500);
  } else if (!lua_isnoneornil(lua, 2)) {
    return luaL_error(lua, "%s takes { status = 403, reason = \"...\" }", what);
  }
  call.decision = Call::Decision::kDenied;
  return 0;
}

namespace {

int AfterBody(lua_State* lua, int, lua_KContext) {
  const auto* body = std::get_if<ReadBody>(&HostOf(lua).call->result);
  if (body == nullptr || !body->bytes) {
    lua_pushnil(lua);
  } else {
    lua_pushlstring(lua, body->bytes->data(), body->bytes->size());
  }
  return 1;
}

}  // namespace

int ReadBodyOf(lua_State* lua, Call& call, const char* what) {
  if (call.new_body) {
    lua_pushlstring(lua, call.new_body->data(), call.new_body->size());
    return 1;
  }
  const lua_Integer max = luaL_optinteger(lua, 2, static_cast<lua_Integer>(kMaxScriptBody));
  if (max < 1 || max > static_cast<lua_Integer>(kMaxScriptBody))
    return luaL_error(lua, "%s takes the most bytes that it may have, up to 1 MiB", what);
  return YieldFor(lua, call, BodyWait{static_cast<size_t>(max)}, &AfterBody);
}

void AssignBody(lua_State* lua, Call& call, const char* what) {
  auto body = ReadString(lua, 3);
  if (!body || body->size() > kMaxScriptBody)
    luaL_error(lua, "%s takes a string of at most 1 MiB", what);
  call.new_body = *std::move(body);
}

void RaiseFirstError(lua_State* lua, Diagnostics& diagnostics) {
  if (!diagnostics.has_errors()) return;
  for (const Diagnostic& diagnostic : diagnostics.Take()) {
    if (diagnostic.severity == Diagnostic::Severity::kError)
      luaL_error(lua, "%s", diagnostic.message.c_str());
  }
}

}  // namespace sallyport::policy
