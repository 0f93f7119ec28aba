#pragma once

#include <span>
#include <string_view>

namespace sallyport::policy {

/// Declarations that `use "NAME"` stands for: a Lua file of presets/, built in.
struct Preset {
  std::string_view name;
  int version = 0;  ///< From 1; counts up when a preset comes to allow something else.
  std::string_view text;
};

/// All of them, by name.
std::span<const Preset> Presets();
/// Null for a name that none has.
const Preset* FindPreset(std::string_view name);

/// Whole policies to start from (`sandboxctl run --profile NAME`): the files of profiles/, built in.
std::span<const Preset> Profiles();
const Preset* FindProfile(std::string_view name);

}  // namespace sallyport::policy
