#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::policy {

/// A global name that a compiled chunk reads or assigns, whether or not that code ever runs.
struct GlobalUse {
  std::string name;
  int line = 0;
  bool assigned = false;
  std::vector<std::string>
      locals;  ///< Names of the function's and its surroundings' own variables.
};

/// Every assignment to a global name in DUMP, a chunk as lua_dump() writes it with debug
/// information, and every use of one that is not DECLARED; by function and then by place. A
/// variable called _ENV, or an assignment to _ENV, counts as an assigned global "_ENV". Nothing for
/// what is not Lua 5.4's format with its usual number types.
///
/// Looks at instructions alone: in `_G.name` and `_ENV[key]` it sees a table like any other.
std::optional<std::vector<GlobalUse>> ScanChunk(
    std::string_view dump, const std::function<bool(std::string_view)>& declared);

}  // namespace sallyport::policy
