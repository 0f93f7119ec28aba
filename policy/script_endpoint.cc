#include <new>
#include <type_traits>

#include "policy/script_call.h"
#include "policy/table_reader.h"

// The endpoints of a connection: plain values, good for as long as the script likes.

namespace sallyport::policy {
namespace {

constexpr char kEndpoint[] = "sallyport.endpoint";

struct EndpointValue {
  Endpoint endpoint;
  bool known;  // A named flow whose address is not resolved yet has none.
};

template <AddressClass kClass>
int IsOfClass(lua_State* lua) {
  const auto* value = static_cast<const EndpointValue*>(luaL_checkudata(lua, 1, kEndpoint));
  lua_pushboolean(lua, value->known && Classify(value->endpoint.address) == kClass ? 1 : 0);
  return 1;
}

constexpr luaL_Reg kEndpointFunctions[] = {
    {"is_loopback", &IsOfClass<AddressClass::kLoopback>},
    {"is_private", &IsOfClass<AddressClass::kPrivate>},
    {"is_link_local", &IsOfClass<AddressClass::kLinkLocal>},
    {"is_multicast", &IsOfClass<AddressClass::kMulticast>},
    {"is_broadcast", &IsOfClass<AddressClass::kBroadcast>},
    {"is_documentation", &IsOfClass<AddressClass::kDocumentation>},
    {"is_reserved", &IsOfClass<AddressClass::kReserved>},
    {"is_metadata", &IsOfClass<AddressClass::kMetadata>},
    {"is_public", &IsOfClass<AddressClass::kPublic>},
    {nullptr, nullptr}};

int IndexEndpoint(lua_State* lua) {
  const auto* value = static_cast<const EndpointValue*>(luaL_checkudata(lua, 1, kEndpoint));
  const std::string_view key = ViewString(lua, 2).value_or("");
  if (key == "ip") {
    if (value->known) {
      lua_pushstring(lua, value->endpoint.address.ToString().c_str());
    } else {
      lua_pushnil(lua);
    }
    return 1;
  }
  if (key == "port") {
    lua_pushinteger(lua, value->endpoint.port);
    return 1;
  }
  return IndexFunction(lua, "an endpoint", {"ip", "port"});
}

}  // namespace

int RaiseReadOnly(lua_State* lua) {
  return luaL_error(lua, "this object can't be changed");
}

void PushEndpoint(lua_State* lua, const Endpoint& endpoint, bool known) {
  static_assert(std::is_trivially_destructible_v<EndpointValue>);
  new (lua_newuserdatauv(lua, sizeof(EndpointValue), 0)) EndpointValue{endpoint, known};
  if (luaL_newmetatable(lua, kEndpoint) != 0) {
    static constexpr luaL_Reg kMetamethods[] = {
        {"__index", &IndexEndpoint}, {"__newindex", &RaiseReadOnly}, {nullptr, nullptr}};
    lua_createtable(lua, 0, 9);
    luaL_setfuncs(lua, kEndpointFunctions, 0);
    luaL_setfuncs(lua, kMetamethods, 1);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
  }
  lua_setmetatable(lua, -2);
}

}  // namespace sallyport::policy
