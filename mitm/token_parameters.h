#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http_message.h"
#include "base/result.h"

// What clients say to servers that give tokens out, as far as it tells which token they want. No
// I/O; the bytes are the guest's.

namespace sallyport::mitm {

/// A call of an OAuth token endpoint: RFC 6749, 2.3.1, 4.4.2 and 6.
struct TokenParameters {
  std::string grant_type;
  std::vector<std::string> scopes;
  /// Spellings of each id that the client gave: one in the body, and the user of `Basic` as it
  /// stands and, where that differs, decoded as in a form (which the RFC asks for and many leave
  /// out).
  std::vector<std::vector<std::string>> client_ids;
  /// What it proved itself with, a refresh token among it. Never used but to look for placeholders.
  std::vector<std::string> credentials;
};

/// Reads BODY, application/x-www-form-urlencoded or application/json, as a field of HEADERS says,
/// and their Authorization. kInvalid, with a sentence for the client that repeats nothing of it.
Result<TokenParameters> ReadTokenParameters(const Headers& headers, std::string_view body);

/// A call of GitHub's POST /app/installations/ID/access_tokens.
struct InstallationParameters {
  std::string bearer;                     ///< What it proved itself with; empty for nothing.
  std::vector<std::string> repositories;  ///< Sorted.
  std::vector<std::pair<std::string, std::string>> permissions;  ///< Sorted.
};

/// Reads BODY, JSON or nothing, and the Authorization of HEADERS. kInvalid as above.
Result<InstallationParameters> ReadInstallationParameters(const Headers& headers,
                                                          std::string_view body);

}  // namespace sallyport::mitm
