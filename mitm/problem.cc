#include "mitm/problem.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace sallyport::mitm {
namespace {

// One line for people about each group of reasons.
std::string_view Title(Reason reason) {
  switch (reason) {
    case Reason::kAllowed:
      return "Allowed";
    case Reason::kAnsweredByGate:
      return "Answered by the gate";
    case Reason::kNotGranted:
    case Reason::kDeniedByRule:
    case Reason::kDeniedByHook:
    case Reason::kNameNotGranted:
    case Reason::kUnknownAddress:
      return "The sandbox's policy does not allow this request";
    case Reason::kApprovalDenied:
      return "Refused by the user";
    case Reason::kApprovalPending:
      return "Waiting for the user's approval";
    case Reason::kPolicyError:
      return "The sandbox's policy failed while deciding";
    case Reason::kAddressRefused:
      return "The host's addresses may not be reached from this sandbox";
    case Reason::kNameNotFound:
    case Reason::kResolverFailed:
      return "The host's name could not be resolved";
    case Reason::kUpstreamRefused:
    case Reason::kUpstreamUnreachable:
    case Reason::kUpstreamTimeout:
      return "The host could not be reached";
    case Reason::kProxyRefused:
    case Reason::kProxyTimeout:
      return "The host could not be reached through the proxy of the sandbox's host";
    case Reason::kUpstreamTls:
      return "The host's identity could not be verified";
    case Reason::kUpstreamProtocol:
      return "The host's answer is not valid";
    case Reason::kHostMismatch:
      return "The request is for another host than the connection";
    case Reason::kBadRequest:
    case Reason::kNotHttp:
      return "The request is not valid";
    case Reason::kClientTls:
      return "TLS with the client failed";
    case Reason::kSecretWrongHost:
    case Reason::kSecretWrongPlace:
    case Reason::kSecretUnavailable:
      return "A secret may not be used in this request";
    case Reason::kForeignCredential:
      return "The request carries a credential that is not this sandbox's";
    case Reason::kBudgetRate:
    case Reason::kBudgetConnections:
    case Reason::kBudgetBytes:
    case Reason::kBudgetLifetime:
      return "A budget of the sandbox's policy is spent";
    case Reason::kDnsTunnel:
      return "The name looks like data on its way out";
    case Reason::kLimit:
      return "A limit of the sandbox was reached";
    case Reason::kAuditUnavailable:
      return "The audit log can't be written, so nothing is allowed";
  }
  return "Refused";
}

}  // namespace

std::string ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 451:
      return "Unavailable For Legal Reasons";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return {};
  }
}

LocalAnswer MakeProblem(const Refusal& refusal, uint64_t flow, const secrets::Store& secrets) {
  const std::string code(ToString(refusal.reason));
  nlohmann::ordered_json problem;
  problem["type"] = "urn:sallyport:" + code;
  problem["title"] = Title(refusal.reason);
  problem["status"] = refusal.status;
  problem["detail"] = secrets.Redact(refusal.detail);
  if (!refusal.rule.empty()) problem["rule"] = refusal.rule;
  problem["flow"] = flow;
  if (!refusal.how_to_allow.empty()) {
    problem["how_to_allow"] = secrets.Redact(refusal.how_to_allow);
  }
  LocalAnswer answer;
  answer.head.status = refusal.status;
  answer.head.reason = ReasonPhrase(refusal.status);
  answer.head.headers.Add("Content-Type", "application/problem+json");
  answer.head.headers.Add("Cache-Control", "no-store");
  if (refusal.retry_after) {
    answer.head.headers.Add("Retry-After", std::to_string(refusal.retry_after->count()));
  }
  // Messages may quote what a guest or a server sent: bytes that are not UTF-8 are replaced.
  answer.body = problem.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  answer.body += '\n';
  return answer;
}

}  // namespace sallyport::mitm
