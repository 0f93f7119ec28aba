#pragma once

#include <string>

#include "policy/diagnostics.h"
#include "policy/script_call.h"

// What the script's request and response have in common.

namespace sallyport::policy {

/// Pushes a table of HEADERS by their lower-case names; fields of one name are joined.
void PushFields(lua_State* lua, const Headers& headers);

enum class HeadersOf { kRequest, kResponse };
/// Pushes the fields of the current call's request or response: a multimap without regard to case.
void PushHeaders(lua_State* lua, HeadersOf which);

/// The text of the value at INDEX: a string, a number, or a secret's handle. WHAT names it in errors.
std::string ReadValue(lua_State* lua, int index, const char* what);
/// The value at INDEX for the field NAME.
std::string ReadFieldValue(lua_State* lua, int index, const std::string& name);
/// Raises for what frames a message, which belongs to the gate.
void CheckNotFraming(lua_State* lua, const std::string& name);
/// Raises for more fields than a hook may build.
void CheckHeaderSize(lua_State* lua, const Headers& headers);

/// `x:deny "reason"`, or with a table of `status` and `reason`. WHAT is "req:deny".
int DenyMessage(lua_State* lua, Call& call, const char* what);
/// `x:body(max)`: waits for the body.
int ReadBodyOf(lua_State* lua, Call& call, const char* what);
/// `x.body = "..."`: the value is at 3.
void AssignBody(lua_State* lua, Call& call, const char* what);

/// Raises the first error of DIAGNOSTICS, if there is one.
void RaiseFirstError(lua_State* lua, Diagnostics& diagnostics);

}  // namespace sallyport::policy
