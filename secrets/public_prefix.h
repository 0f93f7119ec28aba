#pragma once

#include <string_view>

namespace sallyport::secrets {

/// The part of VALUE that its issuer publishes, the same in everybody's tokens ("ghp_", "sk-ant-",
/// "AKIA"); empty when none is known, or when fewer than 16 characters would stay unseen. The view
/// is of static text, not of VALUE.
std::string_view PublicPrefixOf(std::string_view value);

}  // namespace sallyport::secrets
