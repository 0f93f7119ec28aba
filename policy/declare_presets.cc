#include <charconv>

#include "policy/declarations.h"
#include "policy/presets.h"
#include "policy/script_host.h"

// use "npm": a preset's declarations, as if they stood in the place of the `use`.

namespace sallyport::policy {
namespace {

constexpr size_t kMaxDepth = 4;  // A preset may use others.

/// "npm", or "npm@1" for who wants to be told when a preset changes.
struct Wanted {
  std::string name;
  std::string_view version;  // Of the text it was parsed from; empty: any.
};

Wanted Parse(std::string_view text) {
  const size_t at = text.find('@');
  return {.name = std::string(text.substr(0, at)),
          .version = at == text.npos ? std::string_view() : text.substr(at + 1)};
}

std::string ExplainUnknown(const std::string& name) {
  Words names;
  for (const Preset& preset : Presets()) names.push_back(preset.name);
  std::string message = "no preset is called '" + Printable(name, 40) + "'";
  if (const std::string hint = DidYouMean(name, names); !hint.empty()) return message + hint;
  message += "; there are";
  for (const std::string_view known : names) message.append(" ").append(known);
  return message;
}

bool IsVersion(std::string_view text, int version) {
  int wanted = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), wanted);
  return error == std::errc() && end == text.data() + text.size() && wanted == version;
}

const Preset* Find(Loader& loader, int line, std::string_view text) {
  const Wanted wanted = Parse(text);
  const Preset* preset = FindPreset(wanted.name);
  if (preset == nullptr) {
    loader.diagnostics.Error(line, ExplainUnknown(wanted.name));
    return nullptr;
  }
  if (text.find('@') != text.npos && !IsVersion(wanted.version, preset->version)) {
    loader.diagnostics.Error(line,
                             "use \"" + Printable(text, 60) + "\": this version of Sallyport has " +
                                 std::string(preset->name) + "@" + std::to_string(preset->version) +
                                 "; see what it allows with `sandboxctl policy preset " +
                                 std::string(preset->name) + "`");
    return nullptr;
  }
  return preset;
}

void Run(lua_State* lua, const Preset& preset) {
  LuaState::Of(lua).Charge(static_cast<int64_t>(preset.text.size()));
  const std::string chunk = kPresetChunk + std::string(preset.name);
  if (luaL_loadbufferx(lua, preset.text.data(), preset.text.size(), chunk.c_str(), "t") != LUA_OK) {
    lua_error(lua);
  }
  lua_call(lua, 0, 0);
}

int Use(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const int line = CurrentLine(lua);
  if (IsAbsorber(lua, 1)) return 0;
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    loader.diagnostics.Error(line, "use takes the name of a preset, as in use \"npm\"");
    return 0;
  }
  const Preset* preset = Find(loader, line, ReadString(lua, 1).value_or(""));
  if (preset == nullptr) return 0;
  const auto [used, first] = loader.used_presets.emplace(preset->name, line);
  if (!first) {
    if (used->second != line) {
      loader.diagnostics.Warning(line, "use \"" + std::string(preset->name) + "\" stands at " +
                                           loader.diagnostics.At(used->second) + " already");
    }
    return 0;
  }
  if (loader.presets.size() >= kMaxDepth) return luaL_error(lua, "presets use each other too deep");
  loader.presets.push_back(preset->name);
  Run(lua, *preset);  // An error ends the load, so nothing has to be undone.
  loader.presets.pop_back();
  return 0;
}

}  // namespace

void DefinePresets(lua_State* lua) {
  lua_register(lua, "use", &Use);
}

}  // namespace sallyport::policy
