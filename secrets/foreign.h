#pragma once

#include <string_view>
#include <vector>

#include "secrets/placeholder_index.h"

namespace sallyport::secrets {

/// Whether VALUE, of a field that carries credentials, has one in it that is not ours: MATCHES are
/// the placeholders in it. The scheme and short words ("token=") are none; a field without any
/// credential ("", "Bearer") has none.
bool HoldsForeign(std::string_view value, const std::vector<PlaceholderIndex::Match>& matches);

/// The same for decoded Basic credentials. A placeholder as the password makes any plain user name
/// ours, one as the user name only the passwords that services document for it.
bool BasicHoldsForeign(std::string_view credentials,
                       const std::vector<PlaceholderIndex::Match>& matches);

}  // namespace sallyport::secrets
