#pragma once

#include <string_view>

namespace sallyport::policy {

/// Whether NAME, in its canonical form, is no public name: a single label, or below a domain that
/// names of a host, a network or another naming system stand in (localhost, local, internal,
/// home.arpa and the rest of arpa, onion, invalid, alt; RFC 6761, 6762, 7686, 8375, 9476). Those
/// need a rule that names them. ("test" and "example" resolve nowhere, and count as public.)
bool IsSpecialName(std::string_view name);

}  // namespace sallyport::policy
