#include <algorithm>
#include <charconv>
#include <iterator>

#include "policy/declarations.h"

// `rate`, `connections`, `bytes` and `lifetime`, of a rule or of the sandbox.

namespace sallyport::policy {
namespace {

constexpr uint32_t kMostUses = 1'000'000;  // Beyond it no rate is worth counting.

std::optional<Rate> ParseRate(std::string_view text) {
  static constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"/s", 1000}, {"/min", 60'000}, {"/h", 3'600'000}};
  Rate rate;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rate.count);
  if (error != std::errc() || rate.count == 0 || rate.count > kMostUses) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  for (const auto& [name, milliseconds] : kUnits) {
    if (unit != name) continue;
    rate.per = std::chrono::milliseconds(milliseconds);
    return rate;
  }
  return std::nullopt;
}

// The string in FIELD; reports that it must be WANTED if it is something else.
std::optional<std::string> Text(TableReader& reader, const char* field, std::string_view wanted) {
  std::optional<std::string> text;
  reader.ForEach(field, TableReader::Tables::kListsAndValues, [&](int index) {
    text = ReadString(reader.lua(), index);
    if (!text) reader.TypeError(field, wanted, index);
  });
  return text;
}

void ReadRate(TableReader& reader, RuleBudget& budget) {
  const auto text = Text(reader, "rate", "a string like \"100/min\" (/s, /min or /h)");
  if (!text) return;
  budget.rate = ParseRate(*text);
  if (budget.rate) return;
  reader.Error("'rate' must be like \"100/min\" (/s, /min or /h), not \"" + Printable(*text, 40) +
               "\"");
}

std::optional<uint64_t> ReadSize(TableReader& reader, const char* field) {
  const auto text = reader.String(field);
  if (!text) return std::nullopt;
  const auto size = ParseSize(*text);
  if (size && *size > 0) return size;
  reader.Error("'" + std::string(field) + "' must be a size like \"10MiB\" or \"1GiB\", not \"" +
               Printable(*text, 40) + "\"");
  return std::nullopt;
}

void ReadBytes(TableReader& reader, RuleBudget& budget) {
  constexpr const char* kForm = "{ up = \"10MiB\", down = \"1GiB\" }";
  if (!reader.Has("bytes")) return;
  lua_State* lua = reader.lua();
  lua_pushstring(lua, "bytes");
  lua_rawget(lua, reader.index());
  if (lua_type(lua, -1) != LUA_TTABLE) {
    reader.TypeError("bytes", kForm, -1);
  } else {
    TableReader bytes(reader, -1, "bytes");
    bytes.Expect({"up", "down"});
    budget.bytes_up = ReadSize(bytes, "up");
    budget.bytes_down = ReadSize(bytes, "down");
    if (!bytes.Has("up") && !bytes.Has("down")) bytes.Error("is written " + std::string(kForm));
  }
  lua_pop(lua, 1);
}

void ReadLifetime(TableReader& reader, RuleBudget& budget) {
  const auto text =
      Text(reader, "lifetime", "a string, a duration like \"30s\", \"10m\" or \"1h\"");
  if (!text) return;
  budget.lifetime = ParseDuration(*text);
  if (budget.lifetime && budget.lifetime->count() > 0) return;
  reader.Error("'lifetime' must be a duration like \"30s\", \"10m\" or \"1h\", not \"" +
               Printable(*text, 40) + "\"");
}

}  // namespace

RuleBudgetPtr ReadBudget(TableReader& reader, const std::string& rule) {
  constexpr const char* kFields[] = {"rate", "connections", "bytes", "lifetime"};
  if (std::none_of(std::begin(kFields), std::end(kFields),
                   [&reader](const char* field) { return reader.Has(field); })) {
    return nullptr;
  }
  RuleBudget budget;
  budget.rule = rule;
  ReadRate(reader, budget);
  if (const auto most = reader.Integer("connections", 1, kMostUses)) {
    budget.connections = static_cast<uint32_t>(*most);
  }
  ReadBytes(reader, budget);
  ReadLifetime(reader, budget);
  const bool any =
      budget.rate || budget.connections || budget.bytes_up || budget.bytes_down || budget.lifetime;
  return any ? std::make_shared<const RuleBudget>(std::move(budget)) : nullptr;
}

}  // namespace sallyport::policy
