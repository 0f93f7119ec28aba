#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace sallyport {

/// Why something was allowed or refused: the stable codes of the audit log and of what a guest is
/// told (docs/reason-codes.md). Adding one means a row there and one in ToString.
enum class Reason {
  kAllowed,
  kAnsweredByGate,      ///< A granted call of a secret's token endpoint, which the gate answers.
  kNotGranted,          ///< No rule grants it.
  kDeniedByRule,        ///< A `deny` rule, or the `otherwise` of a rule, refused it.
  kDeniedByHook,        ///< A callback denied it.
  kApprovalDenied,      ///< The user was asked, and said no.
  kApprovalPending,     ///< The user was asked, and has not answered in time.
  kPolicyError,         ///< A callback failed or its budget was spent.
  kNameNotGranted,      ///< A name that no rule can use.
  kUnknownAddress,      ///< A synthetic address that belongs to no name.
  kAddressRefused,      ///< The destination's addresses are all of refused classes.
  kNameNotFound,        ///< The name does not exist upstream.
  kResolverFailed,      ///< No resolver answered.
  kUpstreamRefused,     ///< The destination refused the connection.
  kUpstreamUnreachable, ///< The destination can't be reached.
  kUpstreamTimeout,     ///< The destination did not answer in time.
  kUpstreamTls,         ///< The destination's certificate did not verify, or TLS failed.
  kProxyRefused,        ///< The host's own proxy refused to connect there, or can't be used.
  kProxyTimeout,        ///< The host's own proxy did not connect there in time.
  kUpstreamProtocol,    ///< The destination's answer is not valid HTTP.
  kHostMismatch,        ///< SNI, authority and the name the flow belongs to do not agree.
  kBadRequest,          ///< The request breaks HTTP.
  kNotHttp,             ///< Bytes that are not HTTP on a flow granted as HTTP.
  kClientTls,           ///< The guest's TLS failed; most often it does not trust the gate's CA.
  kSecretWrongHost,     ///< A placeholder towards a host that may not receive the secret.
  kSecretWrongPlace,    ///< A placeholder where the secret may not stand.
  kSecretUnavailable,   ///< The secret has no value.
  kForeignCredential,   ///< A credential that is not ours, towards a host with a bound secret.
  kBudgetRate,          ///< A rule's `rate` is used up for now.
  kBudgetConnections,   ///< As many as a rule's `connections` says are open.
  kBudgetBytes,         ///< A rule's `bytes` are used up.
  kBudgetLifetime,      ///< The flow lived as long as its rule's `lifetime` says.
  kDnsTunnel,           ///< A name below a wildcard that looks like data, or too many new ones.
  kLimit,               ///< A limit of the gate was reached.
  kAuditUnavailable,    ///< The audit log can't be written.
};

/// "allowed", "not_granted", "denied_by_rule", ...
std::string_view ToString(Reason reason);

/// A refusal as the guest is told it.
struct Refusal {
  Reason reason = Reason::kNotGranted;
  int status = 403;          ///< For HTTP; other transports have their own form.
  std::string detail;        ///< What happened, one sentence.
  std::string rule;          ///< What decided; empty for the default.
  std::string how_to_allow;  ///< The smallest change that would allow it; may be empty.
  /// When the same may work: Retry-After for HTTP. Nothing where waiting does not help.
  std::optional<std::chrono::seconds> retry_after = std::nullopt;
};

}  // namespace sallyport
