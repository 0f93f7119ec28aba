#include "policy/presets.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

#include "presets.inc"  // kPresets.

}  // namespace

std::span<const Preset> Presets() {
  return kPresets;
}

const Preset* FindPreset(std::string_view name) {
  const auto found = std::find_if(std::begin(kPresets), std::end(kPresets),
                                  [name](const Preset& preset) { return preset.name == name; });
  return found == std::end(kPresets) ? nullptr : &*found;
}

}  // namespace sallyport::policy
