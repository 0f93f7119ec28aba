#pragma once

#include <string>
#include <string_view>

#include "secrets/store.h"

namespace sallyport::runtime {

/// TEXT with the placeholder of secret NAME in place of each ${NAME}. Other names, and what only
/// looks like one, stay: such files have variables of their own.
std::string ExpandTemplate(std::string_view text, const secrets::Store& secrets);

}  // namespace sallyport::runtime
