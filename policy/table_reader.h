#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/diagnostics.h"
#include "policy/lua_state.h"

namespace sallyport::policy {

using Words = std::vector<std::string_view>;

/// Reads the table that a declaration was given, which nobody changes meanwhile: it looks at it raw,
/// so no code of the script runs. Each mistake is a diagnostic, and reading goes on. A field that is missing or wrong is nothing.
/// Fields that an undeclared name gave (IsAbsorber) were reported already and count as missing.
class TableReader {
 public:
  /// INDEX is a table; WHAT names the declaration in messages ("allow.http").
  TableReader(lua_State* lua, int index, Diagnostics& diagnostics, std::string what, int line)
      : lua_(lua),
        index_(lua_absindex(lua, index)),
        diagnostics_(diagnostics),
        what_(std::move(what)),
        line_(line) {}

  /// Reports every field but KNOWN, and list elements beyond POSITIONAL of them.
  void Expect(const Words& known, lua_Integer positional = 0);
  /// Reports FIELD, if it is there, as something that this version does not have.
  void Unavailable(const char* field, std::string_view more = {});

  bool Has(const char* field);
  /// Whether each of its fields has one of these names. False also when that is not known.
  bool HasOnly(const Words& names);
  std::optional<std::string> String(const char* field);
  std::optional<std::string> StringAt(lua_Integer position);
  std::optional<bool> Bool(const char* field);
  std::optional<lua_Integer> Integer(const char* field, lua_Integer least, lua_Integer most);
  std::optional<std::string> OneOf(const char* field, const Words& words);
  /// One string, or a list of them; empty when it is missing.
  std::vector<std::string> Strings(const char* field);

  /// Calls VISIT with the stack index of the value of FIELD, or of each element if it is a list.
  /// False when the field is missing. ALLOW_TABLES: a table with other keys is one value.
  enum class Tables { kLists, kListsAndValues };
  bool ForEach(const char* field, Tables tables, const std::function<void(int)>& visit);
  /// Calls VISIT(key, stack index of the value) for each field of the table FIELD, by name.
  bool ForEachField(const char* field, const std::function<void(const std::string&, int)>& visit);
  /// Reports that FIELD must be WANTED, not what stands at INDEX.
  void TypeError(const char* field, std::string_view wanted, int index);
  void Error(std::string message);

  lua_State* lua() const { return lua_; }
  int index() const { return index_; }
  int line() const { return line_; }
  const std::string& what() const { return what_; }
  Diagnostics& diagnostics() const { return diagnostics_; }

 private:
  int Push(const char* field);
  /// Whether the table has no field of this name; false if that is not known.
  bool Lacks(std::string_view field);
  void NoteFields();

  // A rule has few of the fields that it could have, and Lua would hash the name of each.
  static constexpr size_t kMostNoted = 16;

  lua_State* lua_;
  int index_;
  Diagnostics& diagnostics_;
  std::string what_;
  int line_;
  std::array<std::string_view, kMostNoted> noted_;  // Lua's own: the table keeps them.
  size_t noted_count_ = 0;
  enum class Noted { kNotYet, kAll, kTooMany } noted_state_ = Noted::kNotYet;
};

/// The string at INDEX; nothing when it is none (a number is none either).
std::optional<std::string> ReadString(lua_State* lua, int index);
/// Whether the table at INDEX has only the keys 1 to n.
bool IsList(lua_State* lua, int index);

/// The value `any`.
void PushAny(lua_State* lua);
bool IsAny(lua_State* lua, int index);

/// What an undeclared name stands for while the file loads: takes every use in silence, since the
/// name is reported already.
void PushAbsorber(lua_State* lua);
bool IsAbsorber(lua_State* lua, int index);

/// "a string", "a table", ... for the value at INDEX.
std::string DescribeType(lua_State* lua, int index);

}  // namespace sallyport::policy
