#include "policy/table_reader.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

// Reading costs steps like anything else that a loop in the file can multiply.
constexpr int64_t kStepsPerValue = 20;

constexpr char kAnyKey = 0;
constexpr char kAbsorberName[] = "sallyport.absorber";

int AbsorbIndex(lua_State* lua) {
  lua_settop(lua, 1);
  return 1;
}

int AbsorbCall(lua_State* lua) {
  lua_settop(lua, 1);
  return 1;
}

int AbsorbConcat(lua_State* lua) {
  lua_settop(lua, 2);
  if (!IsAbsorber(lua, -1)) lua_settop(lua, 1);
  return 1;
}

int AbsorbAssignment(lua_State*) {
  return 0;
}

// Of a value that is a string; good while Lua has it.
std::string_view StringView(lua_State* lua, int index) {
  size_t length = 0;
  const char* text = lua_tolstring(lua, index, &length);
  return {text, length};
}

// "host" of "'host' must be a string".
std::string_view QuotedFirst(std::string_view message) {
  if (!message.starts_with('\'')) return {};
  message.remove_prefix(1);
  return message.substr(0, message.find('\''));
}

}  // namespace

int TableReader::LineOf(std::string_view field) {
  auto path = path_;
  if (!field.empty()) path.emplace_back(field);
  return diagnostics_.LineOf(line_, path);
}

void TableReader::Error(std::string message) {
  const int line = LineOf(QuotedFirst(message));
  diagnostics_.Error(line, what_ + ": " + std::move(message));
}

void TableReader::Warning(std::string message) {
  const int line = LineOf(QuotedFirst(message));
  diagnostics_.Warning(line, what_ + ": " + std::move(message));
}

void TableReader::TypeError(std::string_view field, std::string_view wanted, int index) {
  if (IsAbsorber(lua_, index)) return;
  if (IsAny(lua_, index)) {
    return Error("'" + std::string(field) + "' can't be any: it is " + std::string(wanted) +
                 ", or is left out");
  }
  Error("'" + std::string(field) + "' must be " + std::string(wanted) + ", not " +
        DescribeType(lua_, index));
}

void TableReader::Expect(const Words& known, lua_Integer positional) {
  for (lua_pushnil(lua_); lua_next(lua_, index_) != 0; lua_pop(lua_, 1)) {
    LuaState::Of(lua_).Charge(kStepsPerValue);
    if (lua_isinteger(lua_, -2) != 0) {
      const lua_Integer position = lua_tointeger(lua_, -2);
      if (position < 1 || position > positional) {
        Error(
            "a value without a name; write field = value" +
            (known.empty() ? std::string() : ", as in '" + std::string(known.front()) + " = ...'"));
        lua_pop(lua_, 2);
        return;
      }
      continue;
    }
    if (lua_type(lua_, -2) != LUA_TSTRING) {
      Error("a field whose name is " + DescribeType(lua_, -2));
      continue;
    }
    const std::string_view name = StringView(lua_, -2);
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    diagnostics_.Error(LineOf(name), "unknown field '" + Printable(name, 60) + "' of " + what_ +
                                         DidYouMean(name, known));
  }
}

void TableReader::NoteFields() {
  noted_state_ = Noted::kAll;
  for (lua_pushnil(lua_); lua_next(lua_, index_) != 0; lua_pop(lua_, 1)) {
    LuaState::Of(lua_).Charge(kStepsPerValue);
    if (lua_type(lua_, -2) != LUA_TSTRING) {
      has_more_ = true;
      continue;
    }
    if (noted_count_ == kMostNoted) {
      noted_state_ = Noted::kTooMany;
      marks_ = UINT64_MAX;
      lua_pop(lua_, 2);
      return;
    }
    const std::string_view name = StringView(lua_, -2);
    marks_ |= MarkOf(name);
    noted_[noted_count_++] = {name, lua_type(lua_, -1)};
  }
}

const TableReader::Field* TableReader::Find(std::string_view field) const {
  for (size_t i = 0; i < noted_count_; ++i) {
    if (noted_[i].name == field) return &noted_[i];
  }
  return nullptr;
}

int TableReader::Push(std::string_view field) {
  if (Lacks(field)) {
    lua_pushnil(lua_);
    return LUA_TNIL;
  }
  LuaState::Of(lua_).Charge(kStepsPerValue);
  lua_pushlstring(lua_, field.data(), field.size());
  return lua_rawget(lua_, index_);
}

bool TableReader::Has(std::string_view field) {
  if (Lacks(field)) return false;
  // Only an object can be an absorber.
  const Field* noted = noted_state_ == Noted::kAll ? Find(field) : nullptr;
  if (noted != nullptr && noted->type != LUA_TUSERDATA) return true;
  const bool has = Push(field) != LUA_TNIL && !IsAbsorber(lua_, -1);
  lua_pop(lua_, 1);
  return has;
}

bool TableReader::HasOnly(const Words& names) {
  if (noted_state_ == Noted::kNotYet) NoteFields();
  if (noted_state_ == Noted::kTooMany || has_more_) return false;
  const auto end = noted_.begin() + static_cast<ptrdiff_t>(noted_count_);
  return std::all_of(noted_.begin(), end, [&](const Field& field) {
    return std::find(names.begin(), names.end(), field.name) != names.end();
  });
}

std::optional<std::string> TableReader::String(std::string_view field) {
  if (Lacks(field)) return std::nullopt;
  std::optional<std::string> value;
  if (Push(field) != LUA_TNIL) {
    value = ReadString(lua_, -1);
    if (!value) TypeError(field, "a string", -1);
  }
  lua_pop(lua_, 1);
  return value;
}

std::optional<std::string> TableReader::StringAt(lua_Integer position) {
  lua_rawgeti(lua_, index_, position);
  auto value = ReadString(lua_, -1);
  lua_pop(lua_, 1);
  return value;
}

std::optional<bool> TableReader::Bool(std::string_view field) {
  if (Lacks(field)) return std::nullopt;
  std::optional<bool> value;
  if (Push(field) != LUA_TNIL) {
    if (lua_isboolean(lua_, -1)) {
      value = lua_toboolean(lua_, -1) != 0;
    } else {
      TypeError(field, "true or false", -1);
    }
  }
  lua_pop(lua_, 1);
  return value;
}

std::optional<lua_Integer> TableReader::Integer(std::string_view field, lua_Integer least,
                                                lua_Integer most) {
  if (Lacks(field)) return std::nullopt;
  std::optional<lua_Integer> value;
  if (Push(field) != LUA_TNIL) {
    int exact = 0;
    const lua_Integer number =
        lua_type(lua_, -1) == LUA_TNUMBER ? lua_tointegerx(lua_, -1, &exact) : 0;
    if (exact != 0 && number >= least && number <= most) {
      value = number;
    } else {
      TypeError(field,
                "a whole number from " + std::to_string(least) + " to " + std::to_string(most), -1);
    }
  }
  lua_pop(lua_, 1);
  return value;
}

std::optional<std::string> TableReader::OneOf(std::string_view field, const Words& words) {
  auto value = String(field);
  if (!value || std::find(words.begin(), words.end(), *value) != words.end()) return value;
  std::string choices;
  for (const std::string_view word : words) {
    choices += (choices.empty() ? "\"" : ", \"") + std::string(word) + "\"";
  }
  Error("'" + std::string(field) + "' can't be \"" + Printable(*value, 60) + "\"; it is one of " +
        choices + DidYouMean(*value, words));
  return std::nullopt;
}

std::vector<std::string> TableReader::Strings(std::string_view field) {
  std::vector<std::string> values;
  ForEach(field, Tables::kLists, [&](int index) {
    if (auto value = ReadString(lua_, index)) {
      values.push_back(*std::move(value));
    } else {
      TypeError(field, "a string or a list of strings", index);
    }
  });
  return values;
}

bool TableReader::ForEachValue(std::string_view field, Tables tables,
                               void (*visit)(void* to, int index), void* to) {
  const int type = Push(field);
  const int value = lua_gettop(lua_);
  const bool there = type != LUA_TNIL && !IsAbsorber(lua_, value);
  const bool is_list = there && type == LUA_TTABLE && IsList(lua_, value);
  if (is_list) {
    const auto count = static_cast<lua_Integer>(lua_rawlen(lua_, value));
    if (count == 0) {
      Error("'" + std::string(field) + "' is an empty list; leave it out, or name something");
    }
    for (lua_Integer i = 1; i <= count; ++i) {
      LuaState::Of(lua_).Charge(kStepsPerValue);
      lua_rawgeti(lua_, value, i);
      visit(to, value + 1);
      lua_settop(lua_, value);
    }
  } else if (there && type == LUA_TTABLE && tables == Tables::kLists) {
    Error("'" + std::string(field) + "' must be one value or a list, as in { a, b }");
  } else if (there) {
    visit(to, value);
  }
  lua_settop(lua_, value - 1);
  return there;
}

bool TableReader::ForEachField(std::string_view field,
                               const std::function<void(const std::string&, int)>& visit) {
  if (Lacks(field)) return false;
  const int type = Push(field);
  const int table = lua_gettop(lua_);
  const bool there = type != LUA_TNIL && !IsAbsorber(lua_, table);
  if (there && type != LUA_TTABLE) TypeError(field, "a table, as in { name = value }", table);
  if (there && type == LUA_TTABLE) {
    // By name, so that what follows does not depend on the order of a hash.
    std::vector<std::string> names;
    for (lua_pushnil(lua_); lua_next(lua_, table) != 0; lua_pop(lua_, 1)) {
      LuaState::Of(lua_).Charge(kStepsPerValue);
      auto name = ReadString(lua_, -2);
      if (name) {
        names.push_back(*std::move(name));
      } else {
        Error("'" + std::string(field) + "' has a value without a name; write { name = value }");
      }
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      lua_pushlstring(lua_, name.data(), name.size());
      lua_rawget(lua_, table);
      visit(name, table + 1);
      lua_settop(lua_, table);
    }
  }
  lua_settop(lua_, table - 1);
  return there;
}

std::optional<std::string_view> ViewString(lua_State* lua, int index) {
  if (lua_type(lua, index) != LUA_TSTRING) return std::nullopt;
  const std::string_view text = StringView(lua, index);
  LuaState::Of(lua).ChargeLater(static_cast<int64_t>(text.size() / 4));
  return text;
}

std::optional<std::string> ReadString(lua_State* lua, int index) {
  const auto text = ViewString(lua, index);
  if (!text) return std::nullopt;
  return std::string(*text);
}

bool IsList(lua_State* lua, int index) {
  if (lua_type(lua, index) != LUA_TTABLE) return false;
  index = lua_absindex(lua, index);
  const lua_Unsigned length = lua_rawlen(lua, index);
  LuaState::Of(lua).Charge(static_cast<int64_t>(length));
  lua_Unsigned found = 0;
  for (lua_pushnil(lua); lua_next(lua, index) != 0; lua_pop(lua, 1)) {
    const lua_Integer position = lua_isinteger(lua, -2) != 0 ? lua_tointeger(lua, -2) : 0;
    if (position < 1 || static_cast<lua_Unsigned>(position) > length) {
      lua_pop(lua, 2);
      return false;
    }
    ++found;
  }
  return found == length;
}

void PushAny(lua_State* lua) {
  lua_pushlightuserdata(lua, const_cast<char*>(&kAnyKey));
}

bool IsAny(lua_State* lua, int index) {
  return lua_islightuserdata(lua, index) && lua_touserdata(lua, index) == &kAnyKey;
}

void PushAbsorber(lua_State* lua) {
  lua_newuserdatauv(lua, 0, 0);
  if (luaL_newmetatable(lua, kAbsorberName) != 0) {
    static constexpr luaL_Reg kMethods[] = {{"__index", &AbsorbIndex},
                                            {"__call", &AbsorbCall},
                                            {"__concat", &AbsorbConcat},
                                            {"__newindex", &AbsorbAssignment},
                                            {nullptr, nullptr}};
    luaL_setfuncs(lua, kMethods, 0);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
  }
  lua_setmetatable(lua, -2);
}

bool IsAbsorber(lua_State* lua, int index) {
  return lua_type(lua, index) == LUA_TUSERDATA &&
         luaL_testudata(lua, index, kAbsorberName) != nullptr;
}

std::string DescribeType(lua_State* lua, int index) {
  if (IsAny(lua, index)) return "any";
  switch (lua_type(lua, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return "nil";
    case LUA_TBOOLEAN:
      return lua_toboolean(lua, index) != 0 ? "true" : "false";
    case LUA_TNUMBER: {
      if (lua_isinteger(lua, index) != 0) return std::to_string(lua_tointeger(lua, index));
      return std::to_string(lua_tonumber(lua, index));
    }
    case LUA_TSTRING:
      return "the string \"" + Printable(*ReadString(lua, index), 60) + "\"";
    case LUA_TTABLE:
      return "a table";
    case LUA_TFUNCTION:
      return "a function";
    default:
      return "an object";
  }
}

}  // namespace sallyport::policy
