#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
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
  /// INDEX is a table in FIELD of OUTER, or in the list there.
  TableReader(const TableReader& outer, int index, const std::string& field)
      : TableReader(outer.lua_, index, outer.diagnostics_, outer.what_ + " " + field, outer.line_) {
    path_ = outer.path_;
    path_.push_back(field);
  }

  /// Reports every field but KNOWN, and list elements beyond POSITIONAL of them.
  void Expect(const Words& known, lua_Integer positional = 0);

  bool Has(std::string_view field);
  /// Whether all that it has are fields with one of these names. False also when that is not known.
  bool HasOnly(const Words& names);
  std::optional<std::string> String(std::string_view field);
  std::optional<std::string> StringAt(lua_Integer position);
  std::optional<bool> Bool(std::string_view field);
  std::optional<lua_Integer> Integer(std::string_view field, lua_Integer least, lua_Integer most);
  std::optional<std::string> OneOf(std::string_view field, const Words& words);
  /// One string, or a list of them; empty when it is missing.
  std::vector<std::string> Strings(std::string_view field);

  /// Calls VISIT with the stack index of the value of FIELD, or of each element if it is a list.
  /// False when the field is missing. ALLOW_TABLES: a table with other keys is one value.
  enum class Tables { kLists, kListsAndValues };
  template <class Visit>
  bool ForEach(std::string_view field, Tables tables, Visit&& visit) {
    using Plain = std::remove_reference_t<Visit>;
    if (Lacks(field)) return false;
    return ForEachValue(
        field, tables, [](void* to, int index) { (*static_cast<Plain*>(to))(index); },
        const_cast<void*>(static_cast<const void*>(&visit)));
  }
  /// Calls VISIT(key, stack index of the value) for each field of the table FIELD, by name.
  bool ForEachField(std::string_view field, const std::function<void(const std::string&, int)>& visit);
  /// Reports that FIELD must be WANTED, not what stands at INDEX.
  void TypeError(std::string_view field, std::string_view wanted, int index);
  /// Reports MESSAGE, at the line of the field that it begins with in quotes, if it does.
  void Error(std::string message);
  /// The same for what is only remarkable.
  void Warning(std::string message);

  lua_State* lua() const { return lua_; }
  int index() const { return index_; }
  int line() const { return line_; }
  const std::string& what() const { return what_; }
  Diagnostics& diagnostics() const { return diagnostics_; }

 private:
  struct Field {
    std::string_view name;  ///< Lua's own: the table keeps it.
    int type = LUA_TNIL;    ///< Of its value.
  };

  /// Where FIELD stands, or the table where it is empty or not found.
  int LineOf(std::string_view field);
  int Push(std::string_view field);
  bool ForEachValue(std::string_view field, Tables tables, void (*visit)(void* to, int index),
                    void* to);
  /// Whether the table has no field of this name; false if that is not known.
  bool Lacks(std::string_view field) {
    if (noted_state_ == Noted::kNotYet) NoteFields();
    return (marks_ & MarkOf(field)) == 0 || (noted_state_ == Noted::kAll && Find(field) == nullptr);
  }
  /// Of the fields that are noted; null for none of them.
  const Field* Find(std::string_view field) const;
  void NoteFields();
  /// A bit that few names share. Most fields that a rule could have it lacks, which is seen by this.
  static uint64_t MarkOf(std::string_view name) {
    if (name.empty()) return 1;
    return uint64_t{1} << ((static_cast<uint8_t>(name.front()) + 11 * name.size()) % 64);
  }

  // A rule has few of the fields that it could have, and Lua would hash the name of each.
  static constexpr size_t kMostNoted = 16;

  lua_State* lua_;
  int index_;
  Diagnostics& diagnostics_;
  std::string what_;
  int line_;
  std::vector<std::string> path_;  // From the table of the call to this one.
  std::array<Field, kMostNoted> noted_;
  size_t noted_count_ = 0;
  uint64_t marks_ = 0;     // Of those that are noted; all bits where there are too many.
  bool has_more_ = false;  // Something that has no name.
  enum class Noted { kNotYet, kAll, kTooMany } noted_state_ = Noted::kNotYet;
};

/// The string at INDEX; nothing when it is none (a number is none either).
std::optional<std::string> ReadString(lua_State* lua, int index);
/// The same without a copy: Lua's own, good while Lua has it.
std::optional<std::string_view> ViewString(lua_State* lua, int index);
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
