#pragma once

#include <lua.hpp>

namespace sallyport::policy {

/// Replaces the table on top of the stack by an empty one that shows its values and takes none: an
/// assignment to any key, also to one that exists, calls the function that lies below it (with
/// table, key, value), which is taken off. Other metamethods of the table go over to the new one.
/// As the new one stays empty, `rawget` and `next` tell nothing of it, and IsSealed() lets `rawset`
/// refuse it.
void SealTable(lua_State* lua);

/// The same for the table at INDEX, which is empty and stays itself: it shows the values of the
/// table on top, which is taken off, and ASSIGNED is called for what is assigned to it.
void SealInPlace(lua_State* lua, int index, lua_CFunction assigned);

/// Whether the value at INDEX is a table that SealTable() made.
bool IsSealed(lua_State* lua, int index);

}  // namespace sallyport::policy
