#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/host_name.h"
#include "base/reason.h"
#include "base/secret_spec.h"
#include "mitm/problem.h"
#include "mitm/token_parameters.h"
#include "secrets/store.h"

// Token endpoints of the policy's secrets: which requests call one, which secret they mean, and
// what the guest reads. No I/O.

namespace sallyport::mitm {

/// The secrets of ALL that a client at HOST:PORT asks for with a request like HEAD, over TLS: those
/// from `oauth2` whose token URL it posts to, or those from `github_app` whose installation's
/// tokens it posts for; never both. Only secrets that the guest gets the placeholder of anyway. The
/// path is compared in its normalised form, the query as it is spelled.
std::vector<SecretSpec> TokenSecretsFor(const std::vector<SecretSpec>& all, const Host& host,
                                        uint16_t port, const RequestHead& head);

/// Why a call gets no token. `error` is one of RFC 6749, 5.2; GitHub's clients are not shown it.
struct TokenRefusal {
  std::string error;
  Refusal refusal;
};

/// The one of SECRETS, not empty and all from `oauth2`, that PARAMETERS mean: by a placeholder
/// (PLACEHOLDERS has theirs, in their order) among the client's credentials, by client id, and
/// where several are left by grant and scopes. An index into SECRETS.
struct TokenChoice {
  size_t chosen = 0;
  std::optional<TokenRefusal> refusal;
};
TokenChoice ChooseTokenSecret(const std::vector<SecretSpec>& secrets,
                              const std::vector<std::string>& placeholders,
                              const TokenParameters& parameters);
/// The same for `github_app`: by a placeholder as Bearer, and where several are left by exactly
/// these repositories and permissions.
TokenChoice ChooseTokenSecret(const std::vector<SecretSpec>& secrets,
                              const std::vector<std::string>& placeholders,
                              const InstallationParameters& parameters);

/// How long a guest is told that its placeholder is good, whose value is for REMAINING (nothing:
/// until a server refuses it). The gate renews values by itself; this only has clients ask again
/// from time to time, and not all the time: from a minute to a day.
std::chrono::seconds ToldLifetime(std::optional<std::chrono::milliseconds> remaining);

/// The answer to a call that means SECRET: PLACEHOLDER as its token, good for LIFETIME from NOW. As
/// in RFC 6749, 5.1, or as GitHub answers it.
LocalAnswer MakeTokenAnswer(const SecretSpec& secret, const std::string& placeholder,
                            std::chrono::seconds lifetime,
                            std::chrono::system_clock::time_point now);

/// What clients of token endpoints read of a refusal: one JSON object with the members of RFC 6749,
/// 5.2 (`error`, `error_description`), GitHub's (`message`), and those of MakeProblem().
LocalAnswer MakeTokenRefusal(const TokenRefusal& refusal, uint64_t flow,
                             const secrets::Store& secrets);

}  // namespace sallyport::mitm
