#include "policy/special_names.h"

#include <algorithm>
#include <array>

namespace sallyport::policy {

bool IsSpecialName(std::string_view name) {
  static constexpr std::array<std::string_view, 7> kDomains = {
      "localhost", "local", "internal", "arpa", "onion", "invalid", "alt"};
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return true;
  return std::find(kDomains.begin(), kDomains.end(), name.substr(dot + 1)) != kDomains.end();
}

}  // namespace sallyport::policy
