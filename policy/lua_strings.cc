#include <cstring>

#include <algorithm>

#include "policy/lua_pattern.h"
#include "policy/lua_state.h"

// string.find, match, gmatch, gsub and rep, with the meaning of the Lua 5.4 manual, counting steps.

namespace sallyport::policy {
namespace {

class Counter final : public LuaPattern::StepCounter {
 public:
  explicit Counter(LuaState& state) : state_(state) {}
  void Count(int64_t steps) override { state_.Charge(steps); }

 private:
  LuaState& state_;
};

std::string_view CheckString(lua_State* lua, int argument) {
  size_t length = 0;
  const char* text = luaL_checklstring(lua, argument, &length);
  return {text, length};
}

// The start that POSITION means in a string of LENGTH, from 0; may lie behind its end.
size_t StartFrom(lua_Integer position, size_t length) {
  if (position > 0) return static_cast<size_t>(position) - 1;
  if (position == 0) return 0;
  const size_t from_end = size_t{0} - static_cast<size_t>(position);
  return from_end > length ? 0 : length - from_end;
}

void PushCapture(lua_State* lua, const LuaPattern& pattern, std::string_view subject, int index,
                 size_t start, size_t end) {
  if (index >= pattern.captures()) {
    if (index != 0) luaL_error(lua, "invalid capture index %%%d", index + 1);
    lua_pushlstring(lua, subject.data() + start, end - start);
    return;
  }
  const LuaPattern::Capture& capture = pattern.capture(index);
  if (capture.is_position) {
    lua_pushinteger(lua, static_cast<lua_Integer>(capture.start) + 1);
  } else {
    lua_pushlstring(lua, subject.data() + capture.start, capture.length);
  }
}

// All captures, or the whole match where there are none.
int PushCaptures(lua_State* lua, const LuaPattern& pattern, std::string_view subject, size_t start,
                 size_t end) {
  const int count = std::max(1, pattern.captures());
  luaL_checkstack(lua, count, "too many captures");
  for (int i = 0; i < count; ++i) PushCapture(lua, pattern, subject, i, start, end);
  return count;
}

std::optional<size_t> MatchOrRaise(lua_State* lua, LuaPattern& pattern, size_t start) {
  const auto end = pattern.MatchAt(start);
  if (pattern.error() != nullptr) luaL_error(lua, "%s", pattern.error());
  return end;
}

bool HasSpecials(std::string_view pattern) {
  return pattern.find_first_of("^$*+?.([%-") != std::string_view::npos;
}

int FindPlain(lua_State* lua, std::string_view subject, std::string_view wanted, size_t start) {
  LuaState::Of(lua).Charge(static_cast<int64_t>((subject.size() - start + wanted.size()) / 8));
  // memmem is linear; string_view::find is not.
  const void* found =
      memmem(subject.data() + start, subject.size() - start, wanted.data(), wanted.size());
  if (found == nullptr) return 0;
  const auto at = static_cast<lua_Integer>(static_cast<const char*>(found) - subject.data());
  lua_pushinteger(lua, at + 1);
  lua_pushinteger(lua, at + static_cast<lua_Integer>(wanted.size()));
  return 2;
}

enum class Wanted { kPlace, kCaptures };

int FindOrMatch(lua_State* lua, Wanted wanted) {
  const std::string_view subject = CheckString(lua, 1);
  std::string_view text = CheckString(lua, 2);
  size_t start = StartFrom(luaL_optinteger(lua, 3, 1), subject.size());
  if (start > subject.size()) {
    lua_pushnil(lua);
    return 1;
  }
  if (wanted == Wanted::kPlace && (lua_toboolean(lua, 4) != 0 || !HasSpecials(text))) {
    if (const int results = FindPlain(lua, subject, text, start); results > 0) return results;
    lua_pushnil(lua);
    return 1;
  }
  const bool anchored = text.starts_with('^');
  if (anchored) text.remove_prefix(1);
  Counter counter(LuaState::Of(lua));
  LuaPattern pattern(subject, text, counter);
  do {
    const auto end = MatchOrRaise(lua, pattern, start);
    if (!end) continue;
    if (wanted == Wanted::kCaptures) return PushCaptures(lua, pattern, subject, start, *end);
    lua_pushinteger(lua, static_cast<lua_Integer>(start) + 1);
    lua_pushinteger(lua, static_cast<lua_Integer>(*end));
    if (pattern.captures() == 0) return 2;
    return PushCaptures(lua, pattern, subject, start, *end) + 2;
  } while (!anchored && start++ < subject.size());
  lua_pushnil(lua);
  return 1;
}

int Find(lua_State* lua) {
  return FindOrMatch(lua, Wanted::kPlace);
}
int Match(lua_State* lua) {
  return FindOrMatch(lua, Wanted::kCaptures);
}

// Upvalues: subject, pattern, where to go on, where the last match ended (or -1).
int GmatchStep(lua_State* lua) {
  size_t subject_length = 0;
  size_t pattern_length = 0;
  const char* subject_text = lua_tolstring(lua, lua_upvalueindex(1), &subject_length);
  const char* pattern_text = lua_tolstring(lua, lua_upvalueindex(2), &pattern_length);
  const std::string_view subject(subject_text, subject_length);
  const lua_Integer last = lua_tointeger(lua, lua_upvalueindex(4));
  Counter counter(LuaState::Of(lua));
  LuaPattern pattern(subject, {pattern_text, pattern_length}, counter);
  for (auto start = static_cast<size_t>(lua_tointeger(lua, lua_upvalueindex(3)));
       start <= subject.size(); ++start) {
    const auto end = MatchOrRaise(lua, pattern, start);
    if (!end || static_cast<lua_Integer>(*end) == last) continue;
    lua_pushinteger(lua, static_cast<lua_Integer>(*end));
    lua_copy(lua, -1, lua_upvalueindex(3));
    lua_replace(lua, lua_upvalueindex(4));
    return PushCaptures(lua, pattern, subject, start, *end);
  }
  return 0;
}

int Gmatch(lua_State* lua) {
  const std::string_view subject = CheckString(lua, 1);
  CheckString(lua, 2);
  const size_t start =
      std::min(StartFrom(luaL_optinteger(lua, 3, 1), subject.size()), subject.size() + 1);
  lua_settop(lua, 2);
  lua_pushinteger(lua, static_cast<lua_Integer>(start));
  lua_pushinteger(lua, -1);
  lua_pushcclosure(lua, &GmatchStep, 4);
  return 1;
}

// The replacement string (argument 3) with its captures put in.
void AddReplacementString(lua_State* lua, luaL_Buffer* buffer, const LuaPattern& pattern,
                          std::string_view subject, size_t start, size_t end) {
  size_t length = 0;
  const char* text = lua_tolstring(lua, 3, &length);
  LuaState::Of(lua).Charge(static_cast<int64_t>(length / 4));
  for (size_t i = 0; i < length; ++i) {
    if (text[i] != '%') {
      luaL_addchar(buffer, text[i]);
      continue;
    }
    const char code = ++i < length ? text[i] : '\0';
    if (code == '%') {
      luaL_addchar(buffer, '%');
    } else if (code == '0') {
      luaL_addlstring(buffer, subject.data() + start, end - start);
    } else if (code >= '1' && code <= '9') {
      PushCapture(lua, pattern, subject, code - '1', start, end);
      luaL_tolstring(lua, -1, nullptr);
      lua_remove(lua, -2);
      luaL_addvalue(buffer);
    } else {
      luaL_error(lua, "invalid use of '%%' in replacement string");
    }
  }
}

// What a match becomes, into BUFFER.
void AddReplacement(lua_State* lua, luaL_Buffer* buffer, const LuaPattern& pattern,
                    std::string_view subject, size_t start, size_t end) {
  switch (lua_type(lua, 3)) {
    case LUA_TFUNCTION: {
      lua_pushvalue(lua, 3);
      const int captures = PushCaptures(lua, pattern, subject, start, end);
      lua_call(lua, captures, 1);
      break;
    }
    case LUA_TTABLE:
      PushCapture(lua, pattern, subject, 0, start, end);
      lua_gettable(lua, 3);
      break;
    default:
      return AddReplacementString(lua, buffer, pattern, subject, start, end);
  }
  if (lua_toboolean(lua, -1) == 0) {
    lua_pop(lua, 1);
    luaL_addlstring(buffer, subject.data() + start, end - start);
    return;
  }
  if (lua_isstring(lua, -1) == 0) {
    luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
  }
  luaL_addvalue(buffer);
}

int Gsub(lua_State* lua) {
  const std::string_view subject = CheckString(lua, 1);
  std::string_view text = CheckString(lua, 2);
  const int type = lua_type(lua, 3);
  luaL_argexpected(
      lua,
      type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
      "string/function/table");
  const lua_Integer most = luaL_optinteger(lua, 4, static_cast<lua_Integer>(subject.size()) + 1);
  if (type == LUA_TNUMBER) lua_tolstring(lua, 3, nullptr);
  const bool anchored = text.starts_with('^');
  if (anchored) text.remove_prefix(1);
  Counter counter(LuaState::Of(lua));
  LuaPattern pattern(subject, text, counter);
  luaL_Buffer buffer;
  luaL_buffinit(lua, &buffer);
  size_t start = 0;
  std::optional<size_t> last;
  lua_Integer count = 0;
  while (count < most) {
    const auto end = MatchOrRaise(lua, pattern, start);
    if (end && end != last) {
      ++count;
      AddReplacement(lua, &buffer, pattern, subject, start, *end);
      start = *end;
      last = end;
    } else if (start < subject.size()) {
      luaL_addchar(&buffer, subject[start]);
      ++start;
    } else {
      break;
    }
    if (anchored) break;
  }
  luaL_addlstring(&buffer, subject.data() + start, subject.size() - start);
  luaL_pushresult(&buffer);
  lua_pushinteger(lua, count);
  return 2;
}

int Repeat(lua_State* lua) {
  const std::string_view text = CheckString(lua, 1);
  const lua_Integer count = luaL_checkinteger(lua, 2);
  size_t separator_length = 0;
  const char* separator = luaL_optlstring(lua, 3, "", &separator_length);
  const size_t piece = text.size() + separator_length;
  if (count <= 0 || piece == 0) {
    lua_pushliteral(lua, "");
    return 1;
  }
  if (static_cast<lua_Unsigned>(count) > kMaxScriptMemory / piece) {
    return luaL_error(lua, "resulting string too large");
  }
  LuaState::Of(lua).Charge(count);
  luaL_Buffer buffer;
  luaL_buffinit(lua, &buffer);
  for (lua_Integer i = 0; i < count; ++i) {
    luaL_addlstring(&buffer, text.data(), text.size());
    if (i + 1 < count) luaL_addlstring(&buffer, separator, separator_length);
  }
  luaL_pushresult(&buffer);
  return 1;
}

}  // namespace

void OpenSafeStrings(lua_State* lua) {
  luaL_requiref(lua, LUA_STRLIBNAME, luaopen_string, 1);
  for (const char* field : {"dump", "pack", "packsize", "unpack"}) {
    lua_pushnil(lua);
    lua_setfield(lua, -2, field);
  }
  ChargeFunctionsOf(lua, -1);
  static constexpr luaL_Reg kFunctions[] = {{"find", &Find}, {"match", &Match}, {"gmatch", &Gmatch},
                                            {"gsub", &Gsub}, {"rep", &Repeat},  {nullptr, nullptr}};
  luaL_setfuncs(lua, kFunctions, 0);
  lua_pop(lua, 1);
  // getmetatable("") would hand out the table that every string's methods come from.
  lua_pushliteral(lua, "");
  lua_getmetatable(lua, -1);
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 2);
}

}  // namespace sallyport::policy
