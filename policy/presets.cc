#include "policy/presets.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

#include "presets.inc"   // kPresets.
#include "profiles.inc"  // kProfiles.

const Preset* Find(std::span<const Preset> all, std::string_view name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [name](const Preset& one) { return one.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace

std::span<const Preset> Presets() {
  return kPresets;
}

const Preset* FindPreset(std::string_view name) {
  return Find(kPresets, name);
}

std::span<const Preset> Profiles() {
  return kProfiles;
}

const Preset* FindProfile(std::string_view name) {
  return Find(kProfiles, name);
}

}  // namespace sallyport::policy
