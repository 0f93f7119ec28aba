#pragma once

#include <string_view>

namespace sallyport::secrets {

/// Whether fields NAME and OTHER are one to some servers: ignores ASCII case, and takes '_' for
/// '-', as what turns names into variables does (CGI, WSGI, Rack).
bool IsSameField(std::string_view name, std::string_view other);

/// Whether fields NAME carry credentials by what is generally known of them: the default places of
/// a placeholder, and where a credential that is not ours is looked for. Ignores ASCII case, and
/// takes '_' for '-'.
bool IsCredentialHeader(std::string_view name);

/// Whether fields NAME carry a scheme and its credentials (RFC 9110, 11.6.2): where "Basic" means
/// base64. Ignores ASCII case.
bool IsAuthorizationHeader(std::string_view name);

/// Whether the gate itself writes fields NAME (framing, routing, the connection), so that nothing
/// may be declared for them. Ignores ASCII case, and takes '_' for '-'.
bool IsFramingHeader(std::string_view name);

}  // namespace sallyport::secrets
