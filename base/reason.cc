#include "base/reason.h"

namespace sallyport {

std::string_view ToString(Reason reason) {
  switch (reason) {
    case Reason::kAllowed:
      return "allowed";
    case Reason::kAnsweredByGate:
      return "answered_by_gate";
    case Reason::kNotGranted:
      return "not_granted";
    case Reason::kDeniedByRule:
      return "denied_by_rule";
    case Reason::kDeniedByHook:
      return "denied_by_hook";
    case Reason::kApprovalDenied:
      return "approval_denied";
    case Reason::kApprovalPending:
      return "approval_pending";
    case Reason::kPolicyError:
      return "policy_error";
    case Reason::kNameNotGranted:
      return "name_not_granted";
    case Reason::kUnknownAddress:
      return "unknown_address";
    case Reason::kAddressRefused:
      return "address_refused";
    case Reason::kNameNotFound:
      return "name_not_found";
    case Reason::kResolverFailed:
      return "resolver_failed";
    case Reason::kUpstreamRefused:
      return "upstream_refused";
    case Reason::kUpstreamUnreachable:
      return "upstream_unreachable";
    case Reason::kUpstreamTimeout:
      return "upstream_timeout";
    case Reason::kUpstreamTls:
      return "upstream_tls";
    case Reason::kProxyRefused:
      return "proxy_refused";
    case Reason::kProxyTimeout:
      return "proxy_timeout";
    case Reason::kUpstreamProtocol:
      return "upstream_protocol";
    case Reason::kHostMismatch:
      return "host_mismatch";
    case Reason::kBadRequest:
      return "bad_request";
    case Reason::kNotHttp:
      return "not_http";
    case Reason::kClientTls:
      return "client_tls";
    case Reason::kSecretWrongHost:
      return "secret_wrong_host";
    case Reason::kSecretWrongPlace:
      return "secret_wrong_place";
    case Reason::kSecretUnavailable:
      return "secret_unavailable";
    case Reason::kForeignCredential:
      return "foreign_credential";
    case Reason::kBudgetRate:
      return "budget_rate";
    case Reason::kBudgetConnections:
      return "budget_connections";
    case Reason::kBudgetBytes:
      return "budget_bytes";
    case Reason::kBudgetLifetime:
      return "budget_lifetime";
    case Reason::kDnsTunnel:
      return "dns_tunnel";
    case Reason::kLimit:
      return "limit";
    case Reason::kAuditUnavailable:
      return "audit_unavailable";
  }
  return "unknown";
}

}  // namespace sallyport
