#include "secrets/violation.h"

#include <algorithm>
#include <utility>

namespace sallyport::secrets {
namespace {

using Kind = Place::Kind;
using Body = SecretSpec::Body;
using OnViolation = SecretSpec::OnViolation;

std::string SecretOf(const Entry& entry) {
  return "secret " + entry.spec.name;
}

Refusal WrongHost(const Entry& entry, const RequestTarget& target) {
  const std::string host = target.host ? target.host->text() : "a literal address";
  Refusal refusal;
  refusal.reason = Reason::kSecretWrongHost;
  refusal.rule = entry.spec.declared_at;
  refusal.detail = "The placeholder of " + SecretOf(entry) + " may not go to " + host +
                   "; these may receive it: " + HostsOf(entry) + ".";
  if (target.host) {
    refusal.how_to_allow = "add \"" + host + "\" to the hosts of " + SecretOf(entry);
  }
  return refusal;
}

/// A placeholder "may not stand" as WHERE says.
Refusal WrongPlace(const Entry& entry, std::string_view where, std::string how_to_allow = {}) {
  Refusal refusal;
  refusal.reason = Reason::kSecretWrongPlace;
  refusal.rule = entry.spec.declared_at;
  refusal.detail = "The placeholder of " + SecretOf(entry) + " may not stand ";
  refusal.detail += where;
  refusal.detail += '.';
  refusal.how_to_allow = std::move(how_to_allow);
  return refusal;
}

Refusal WrongField(const Entry& entry) {
  const auto& places = entry.spec.headers;
  return WrongPlace(
      entry,
      "in that header field" + (places ? "; its headers are: " + Enumerated(*places)
                                       : ", only in Authorization and the usual API-key headers"),
      "name the header in the headers of " + SecretOf(entry));
}

Refusal WrongBody(const Entry& entry) {
  if (entry.spec.body == Body::kNone) {
    return WrongPlace(entry, "in a body", "set body on " + SecretOf(entry));
  }
  const std::string_view where =
      entry.spec.body == Body::kJson   ? "there in a body, only in the strings of JSON"
      : entry.spec.body == Body::kForm ? "there in a body, only in the fields of a form"
                                       : "there in a body, only in one of a type text/*";
  return WrongPlace(entry, where);
}

/// Whether PLACE is one that ENTRY does not name.
std::optional<Refusal> Unplaced(const Entry& entry, const Place& place) {
  switch (place.kind) {
    case Kind::kField:
      if (!HeaderAllowed(entry, place.field)) return WrongField(entry);
      return std::nullopt;
    case Kind::kPath:
      if (entry.spec.path) return std::nullopt;
      return WrongPlace(entry, "in a path", "set path = true on " + SecretOf(entry));
    case Kind::kQuery:
      if (entry.spec.query) return std::nullopt;
      return WrongPlace(entry, "in a query", "set query = true on " + SecretOf(entry));
    case Kind::kBody:
      if (entry.spec.body != Body::kNone) return std::nullopt;
      return WrongBody(entry);
    case Kind::kOtherBody:
      return WrongBody(entry);
    case Kind::kElsewhere:
      break;
  }
  return WrongPlace(entry, "in the name of a field or of the host");
}

}  // namespace

std::optional<Refusal> ViolationOf(const Entry& entry, const RequestTarget& target,
                                   const RequestHead& request, const Place& place) {
  // Without hosts, it was withdrawn.
  if (entry.spec.hosts.empty()) return Unavailable(entry);
  if (!target.host || !MayReceive(entry, *target.host)) return WrongHost(entry, target);
  if (auto refusal = Unplaced(entry, place)) return refusal;
  const std::optional<std::string> out = OutOfScope(entry, target, request);
  if (!out) return std::nullopt;
  Refusal refusal;
  refusal.reason = Reason::kSecretWrongPlace;
  refusal.rule = entry.spec.declared_at;
  refusal.detail = "The placeholder of " + SecretOf(entry) + " may not be used here: " + *out + ".";
  return refusal;
}

std::optional<std::string> OutOfScope(const Entry& entry, const RequestTarget& target,
                                      const RequestHead& request) {
  const SecretSpec& spec = entry.spec;
  if (!target.encrypted && !spec.plaintext) return "the connection is not encrypted";
  if (!spec.ports.empty() &&
      std::find(spec.ports.begin(), spec.ports.end(), target.port) == spec.ports.end()) {
    return "not on port " + std::to_string(target.port);
  }
  if (!spec.methods.empty() &&
      std::find(spec.methods.begin(), spec.methods.end(), request.method) == spec.methods.end()) {
    return "its methods are " + Enumerated(spec.methods);
  }
  if (!PathAllowed(entry, request.path)) return "its paths are " + Enumerated(spec.paths);
  return std::nullopt;
}

void RecordViolation(const Entry& entry, const Place& place, Refusal refusal,
                     Examination& examination) {
  const bool credential = place.kind == Kind::kField && IsCredentialHeaderOf(entry, place.field);
  const OnViolation asked = entry.spec.on_violation;
  const bool pass = asked == OnViolation::kPass || (asked == OnViolation::kDefault && !credential);
  if (pass) return AddOnce(examination.inert, entry.spec.name);
  if (asked == OnViolation::kTerminate) examination.terminate = true;
  if (!examination.refusal) examination.refusal = std::move(refusal);
}

Refusal MisplacedInBody(const Entry& entry) {
  return WrongBody(entry);
}

Refusal MisplacedInTrailers(const Entry& entry) {
  return WrongPlace(entry, "in trailers");
}

Refusal ForeignCredential(const std::vector<const Entry*>& bound, const HostName& host,
                          std::string_view where) {
  std::vector<std::string> secrets;
  for (const Entry* entry : bound) secrets.push_back(entry->spec.name);
  Refusal refusal;
  refusal.reason = Reason::kForeignCredential;
  refusal.rule = bound.front()->spec.declared_at;
  refusal.detail = "Requests to " + host.text() +
                   " may carry no other credential than the placeholder of " + Enumerated(secrets) +
                   "; this one has something else in " + std::string(where) + ".";
  refusal.how_to_allow = "send the placeholder, or set foreign = \"pass\" on each of these secrets";
  return refusal;
}

Refusal TornInBody(const Entry& entry) {
  Refusal refusal;
  refusal.reason = Reason::kSecretWrongPlace;
  refusal.rule = entry.spec.declared_at;
  refusal.detail = "The placeholder of " + SecretOf(entry) +
                   " came in pieces, with a pause in it that was too long.";
  refusal.how_to_allow = "send it in one piece";
  return refusal;
}

Refusal Unavailable(const Entry& entry) {
  Refusal refusal;
  refusal.reason = Reason::kSecretUnavailable;
  refusal.rule = entry.spec.declared_at;
  refusal.detail = "Secret " + entry.spec.name + " has no value: " + entry.unavailable + ".";
  return refusal;
}

void AddOnce(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

}  // namespace sallyport::secrets
