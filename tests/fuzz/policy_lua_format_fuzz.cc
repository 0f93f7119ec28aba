// Any text: it is refused, or formatted into what Lua reads alike and what formatting leaves alone.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "policy/lua_format.h"
#include "policy/lua_lexer.h"

using namespace sallyport;
using namespace sallyport::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMost = 64 * 1024;
  if (size > kMost) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto formatted = FormatLua(text);
  if (!formatted) {
    // Not "would change what it says": that is a mistake of ours.
    SALLYPORT_CHECK(formatted.error().code() == Code::kInvalid);
    return 0;
  }
  const auto before = ReadLuaTokens(text);
  const auto after = ReadLuaTokens(*formatted);
  SALLYPORT_CHECK(before && after && SameLuaTokens(*before, *after));
  return 0;
}
