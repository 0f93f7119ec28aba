#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret_source.h"
#include "runtime/broker/http_client.h"
#include "runtime/broker/wiped.h"

// What is asked of servers that give tokens out, and what they say. No I/O.

namespace sallyport::runtime {

/// What a server gave.
struct Token {
  Wiped value;
  std::optional<std::chrono::milliseconds> lifetime;  ///< None: it named none.
  std::optional<Wiped> refresh_token;  ///< The one to use from now on, where the server gave one.
};

/// RFC 6749, 4.4.2 and 6. CLIENT_SECRET is empty for a public client, REFRESH_TOKEN for another
/// grant.
HttpRequest OAuth2Request(const OAuth2Source& source, std::string_view client_secret,
                          std::string_view refresh_token);
/// RFC 6749, 5.1 and 5.2. Errors hold what the server says of them; what it repeats of SENT, the
/// secrets of the request, is left out.
Result<Token> ReadOAuth2Answer(const HttpAnswer& answer, const std::vector<std::string_view>& sent);

/// The claims of an app's own token at NOW (GitHub takes one of at most ten minutes; a minute of
/// skew is allowed for).
std::string GitHubAppClaims(const GitHubAppSource& source,
                            std::chrono::system_clock::time_point now);
/// POST /app/installations/ID/access_tokens, as the app whose token JWT is.
HttpRequest InstallationTokenRequest(const GitHubAppSource& source, std::string_view jwt);
/// The lifetime is reckoned by the server's clock where its answer has a Date, else from NOW.
Result<Token> ReadInstallationToken(const HttpAnswer& answer,
                                    std::chrono::system_clock::time_point now);

}  // namespace sallyport::runtime
