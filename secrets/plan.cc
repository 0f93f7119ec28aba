// How a request is decided.
//
// 1. The secrets that the target's host may receive are *bound*. A target without a host has none.
// 2. A bound secret that injects, and whose methods, paths and ports allow the request, sets its
//    fields: what the guest sent in them does not leave and is not looked at.
// 3. Each placeholder in any other field is judged: it is *used* when its secret is bound, the
// field
//    is a place for it, and methods, paths, ports and encryption allow it. Otherwise it is a
//    violation: by default a refusal in a field that carries credentials, and left as it stands
//    elsewhere, where it is worth nothing.
// 4. A field that carries credentials to a host with a bound secret, and has something in it that
// is
//    no placeholder, is foreign: refused, removed or let through, by the strictest bound secret.
// 5. Placeholders in the path, the query and in field names are never replaced.
//
// Messages are made of declarations only, never of what the guest sent.

#include "secrets/plan.h"

#include <algorithm>
#include <utility>

#include "secrets/basic_auth.h"
#include "secrets/credential_headers.h"
#include "secrets/foreign.h"

namespace sallyport::secrets {
namespace {

using Matches = std::vector<PlaceholderIndex::Match>;
using Foreign = SecretSpec::Foreign;
using OnViolation = SecretSpec::OnViolation;

void AddOnce(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

/// What is found in one field's value.
struct FieldText {
  Matches matches;  ///< In `credentials` where set, else in the value.
  std::optional<std::string>
      credentials;  ///< Basic, decoded; not when the value as it stands matches.
};

class Planner {
 public:
  Planner(const Entries& entries, const PlaceholderIndex& index, const RequestTarget& target,
          const RequestHead& request)
      : entries_(entries), index_(index), target_(target), request_(request) {}

  Plan Make() {
    FindBound();
    PlanInjections();
    for (size_t i = 0; i < request_.headers.fields().size(); ++i) PlanField(i);
    ExamineElsewhere(request_.path);
    if (request_.query) ExamineElsewhere(*request_.query);
    ExamineElsewhere(request_.authority);
    if (plan_.examination.refusal) plan_.examination.used.clear();  // Nothing is put in.
    return std::move(plan_);
  }

 private:
  void FindBound();
  void PlanInjections();
  void PlanField(size_t field);
  FieldText ReadField(const HeaderField& field) const;
  bool IsForeign(const HeaderField& field, const FieldText& text) const;
  void PlanReplacements(const HeaderField& field, size_t at, const FieldText& text);
  void ExamineElsewhere(std::string_view text);

  /// Whether placeholder ID in field NAME is to be replaced; reports the use or the violation.
  /// No NAME: somewhere that is no field's value.
  bool Judge(size_t id, std::optional<std::string_view> name);
  std::optional<Refusal> ViolationOf(const Entry& entry,
                                     std::optional<std::string_view> name) const;
  std::optional<std::string> OutOfScope(const Entry& entry) const;
  void Violated(const Entry& entry, bool credential, Refusal refusal);

  bool IsBound(const Entry& entry) const;
  bool IsInjected(std::string_view name) const;
  bool IsCredentialHere(std::string_view name) const;
  Foreign StrictestForeign() const;
  void Refuse(Refusal refusal);
  void RefuseUnavailable(const Entry& entry);
  void RefuseForeign();

  const Entries& entries_;
  const PlaceholderIndex& index_;
  const RequestTarget& target_;
  const RequestHead& request_;
  std::vector<const Entry*> bound_;
  Plan plan_;
};

void Planner::FindBound() {
  if (!target_.host) return;
  for (const Entry& entry : entries_) {
    if (MayReceive(entry, *target_.host)) bound_.push_back(&entry);
  }
}

void Planner::PlanInjections() {
  for (const Entry* entry : bound_) {
    if (entry->spec.inject.empty() || OutOfScope(*entry)) continue;
    if (!entry->value) {
      RefuseUnavailable(*entry);
      continue;
    }
    AddOnce(plan_.examination.used, entry->spec.name);
    for (size_t i = 0; i < entry->spec.inject.size(); ++i) plan_.injections.push_back({entry, i});
  }
}

void Planner::PlanField(size_t at) {
  const HeaderField& field = request_.headers.fields()[at];
  if (IsInjected(field.name)) return;
  const FieldText text = ReadField(field);
  const bool foreign = IsForeign(field, text);
  if (foreign && StrictestForeign() == Foreign::kStrip) {
    plan_.changes.push_back({at, FieldChange::Kind::kRemove, {}});
    return;
  }
  ExamineElsewhere(field.name);
  PlanReplacements(field, at, text);
  if (foreign && StrictestForeign() == Foreign::kBlock) RefuseForeign();
}

FieldText Planner::ReadField(const HeaderField& field) const {
  FieldText text;
  text.matches = index_.FindAll(field.value);
  if (!text.matches.empty() || !IsAuthorizationHeader(field.name)) return text;
  text.credentials = DecodeBasic(field.value);
  if (text.credentials) text.matches = index_.FindAll(*text.credentials);
  return text;
}

bool Planner::IsForeign(const HeaderField& field, const FieldText& text) const {
  if (!IsCredentialHere(field.name)) return false;
  return text.credentials ? BasicHoldsForeign(*text.credentials, text.matches)
                          : HoldsForeign(field.value, text.matches);
}

void Planner::PlanReplacements(const HeaderField& field, size_t at, const FieldText& text) {
  using Kind = FieldChange::Kind;
  FieldChange change{at, text.credentials ? Kind::kReplaceBasic : Kind::kReplace, {}};
  for (const auto& match : text.matches) {
    if (!Judge(match.id, field.name)) continue;
    change.values.resize(index_.size());
    change.values[match.id] = entries_[match.id].value->Reveal();
  }
  if (!change.values.empty()) plan_.changes.push_back(std::move(change));
}

void Planner::ExamineElsewhere(std::string_view text) {
  for (const auto& match : index_.FindAll(text)) Judge(match.id, std::nullopt);
}

bool Planner::Judge(size_t id, std::optional<std::string_view> name) {
  const Entry& entry = entries_[id];
  if (std::optional<Refusal> violation = ViolationOf(entry, name)) {
    Violated(entry, name && IsCredentialHeaderOf(entry, *name), *std::move(violation));
    return false;
  }
  if (!entry.value) {
    RefuseUnavailable(entry);
    return false;
  }
  AddOnce(plan_.examination.used, entry.spec.name);
  return true;
}

std::optional<Refusal> Planner::ViolationOf(const Entry& entry,
                                            std::optional<std::string_view> name) const {
  Refusal refusal;
  refusal.rule = entry.spec.declared_at;
  const auto secret = [&entry] { return "secret " + entry.spec.name; };
  if (!IsBound(entry)) {
    const std::string host = target_.host ? target_.host->text() : "a literal address";
    refusal.reason = Reason::kSecretWrongHost;
    refusal.detail = "The placeholder of " + secret() + " may not go to " + host +
                     "; these may receive it: " + HostsOf(entry) + ".";
    if (target_.host) refusal.how_to_allow = "add \"" + host + "\" to the hosts of " + secret();
    return refusal;
  }
  refusal.reason = Reason::kSecretWrongPlace;
  if (!name) {
    refusal.detail = "The placeholder of " + secret() + " may stand in header fields only.";
    return refusal;
  }
  if (!HeaderAllowed(entry, *name)) {
    const auto& places = entry.spec.headers;
    refusal.detail = "The placeholder of " + secret() + " may not stand in that header field" +
                     (places ? "; its headers are: " + Enumerated(*places) + "."
                             : ", only in Authorization and the usual API-key headers.");
    refusal.how_to_allow = "name the header in the headers of " + secret();
    return refusal;
  }
  if (std::optional<std::string> out = OutOfScope(entry)) {
    refusal.detail = "The placeholder of " + secret() + " may not be used here: " + *out + ".";
    return refusal;
  }
  return std::nullopt;
}

/// Why ENTRY, which is bound, may not go with this request at all; nothing when it may.
std::optional<std::string> Planner::OutOfScope(const Entry& entry) const {
  const SecretSpec& spec = entry.spec;
  if (!target_.encrypted && !spec.plaintext) return "the connection is not encrypted";
  if (!spec.ports.empty() &&
      std::find(spec.ports.begin(), spec.ports.end(), target_.port) == spec.ports.end()) {
    return "not on port " + std::to_string(target_.port);
  }
  if (!spec.methods.empty() &&
      std::find(spec.methods.begin(), spec.methods.end(), request_.method) == spec.methods.end()) {
    return "its methods are " + Enumerated(spec.methods);
  }
  if (!PathAllowed(entry, request_.path)) return "its paths are " + Enumerated(spec.paths);
  return std::nullopt;
}

void Planner::Violated(const Entry& entry, bool credential, Refusal refusal) {
  const OnViolation asked = entry.spec.on_violation;
  const bool pass = asked == OnViolation::kPass || (asked == OnViolation::kDefault && !credential);
  if (pass) return AddOnce(plan_.examination.inert, entry.spec.name);
  if (asked == OnViolation::kTerminate) plan_.examination.terminate = true;
  Refuse(std::move(refusal));
}

bool Planner::IsBound(const Entry& entry) const {
  return std::find(bound_.begin(), bound_.end(), &entry) != bound_.end();
}

bool Planner::IsInjected(std::string_view name) const {
  return std::any_of(plan_.injections.begin(), plan_.injections.end(),
                     [name](const Injection& injection) {
                       const auto& inject = injection.entry->spec.inject[injection.inject];
                       return EqualsIgnoreCase(inject.first, name);
                     });
}

bool Planner::IsCredentialHere(std::string_view name) const {
  return std::any_of(bound_.begin(), bound_.end(),
                     [name](const Entry* entry) { return IsCredentialHeaderOf(*entry, name); });
}

Foreign Planner::StrictestForeign() const {
  static_assert(Foreign::kBlock < Foreign::kStrip && Foreign::kStrip < Foreign::kPass);
  Foreign strictest = Foreign::kPass;
  for (const Entry* entry : bound_) strictest = std::min(strictest, entry->spec.foreign);
  return strictest;
}

/// The first refusal is the one that is told.
void Planner::Refuse(Refusal refusal) {
  if (!plan_.examination.refusal) plan_.examination.refusal = std::move(refusal);
}

void Planner::RefuseUnavailable(const Entry& entry) {
  Refusal refusal;
  refusal.reason = Reason::kSecretUnavailable;
  refusal.rule = entry.spec.declared_at;
  refusal.detail = "Secret " + entry.spec.name + " has no value: " + entry.unavailable + ".";
  Refuse(std::move(refusal));
}

void Planner::RefuseForeign() {
  std::vector<std::string> secrets;
  for (const Entry* entry : bound_) secrets.push_back(entry->spec.name);
  Refusal refusal;
  refusal.reason = Reason::kForeignCredential;
  refusal.rule = bound_.front()->spec.declared_at;
  refusal.detail = "Requests to " + target_.host->text() +
                   " may carry no other credential than the placeholder of " + Enumerated(secrets) +
                   "; this one has something else in a header for credentials.";
  refusal.how_to_allow = "send the placeholder, or set foreign = \"pass\" on each of these secrets";
  Refuse(std::move(refusal));
}

/// The value of ENTRY in the template of one of its injections, in one allocation of its own.
std::string Injected(const Entry& entry, std::string_view form) {
  constexpr std::string_view kSlot = "{}";
  constexpr size_t kAlwaysOnHeap = 32;
  const std::string_view value = entry.value->Reveal();
  const size_t slot = form.find(kSlot);
  std::string text;
  text.reserve(std::max(form.size() + value.size(), kAlwaysOnHeap));
  text += form.substr(0, slot);
  text += value;
  text += form.substr(slot + kSlot.size());
  return text;
}

void SetField(Headers& headers, std::string_view name, std::string value) {
  headers.Set(name, {});  // Makes the field; the value itself is moved, never copied.
  for (HeaderField& field : headers.fields()) {
    if (!EqualsIgnoreCase(field.name, name)) continue;
    field.value = std::move(value);
    return;
  }
}

void ApplyChange(const FieldChange& change, const PlaceholderIndex& index, Headers& headers) {
  std::string& value = headers.fields()[change.field].value;
  switch (change.kind) {
    case FieldChange::Kind::kReplace:
      value = Substitute(index, change.values, value);
      return;
    case FieldChange::Kind::kReplaceBasic: {
      std::string credentials =
          Substitute(index, change.values, DecodeBasic(value).value_or(std::string()));
      value = EncodeBasic(credentials);
      WipeString(credentials);
      return;
    }
    case FieldChange::Kind::kRemove:
      headers.fields().erase(headers.fields().begin() + static_cast<std::ptrdiff_t>(change.field));
      return;
  }
}

}  // namespace

Plan MakePlan(const Entries& entries, const PlaceholderIndex& index, const RequestTarget& target,
              const RequestHead& request) {
  return Planner(entries, index, target, request).Make();
}

void Apply(const Plan& plan, const PlaceholderIndex& index, RequestHead& request) {
  if (plan.examination.refusal) return;
  // From the last, so that a removal does not move what is still to be changed.
  for (auto change = plan.changes.rbegin(); change != plan.changes.rend(); ++change) {
    ApplyChange(*change, index, request.headers);
  }
  for (const Injection& injection : plan.injections) {
    const auto& [name, form] = injection.entry->spec.inject[injection.inject];
    SetField(request.headers, name, Injected(*injection.entry, form));
  }
}

}  // namespace sallyport::secrets
