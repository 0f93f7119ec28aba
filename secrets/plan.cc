// How a request is decided.
//
// 1. The secrets that the target's host may receive are *bound*. A target without a host has none.
// 2. A bound secret that injects, and whose methods, paths and ports allow the request, sets its
//    fields: what the guest sent in them, in any spelling, does not leave and is not looked at.
// 3. Each placeholder elsewhere is judged: it is *used* when its secret is bound, the place (a
//    field's value, the path, the query) is one that its declaration names, and methods, paths,
//    ports and encryption allow it. Otherwise it is a violation: by default a refusal in a field
//    that carries credentials, and left as it stands elsewhere, where it is worth nothing.
// 4. A field or a parameter of the query that carries credentials to a host with a bound secret,
// and
//    has something in it that is no placeholder, is foreign: refused, removed or let through, by
//    the strictest bound secret.
// 5. Placeholders in field names and in the authority are never replaced.
// 6. Where the body may be changed (body_plan.h), fields that vouch for it go or refuse the
// request.
//
// Paths and queries are judged, and matched with `paths`, as they are before anything is put in.
// Messages are made of declarations only, never of what the guest sent.

#include "secrets/plan.h"

#include <algorithm>
#include <utility>

#include "secrets/basic_auth.h"
#include "secrets/body_integrity.h"
#include "secrets/body_plan.h"
#include "secrets/credential_headers.h"
#include "secrets/foreign.h"
#include "secrets/spelled_text.h"
#include "secrets/violation.h"

namespace sallyport::secrets {
namespace {

using Matches = std::vector<PlaceholderIndex::Match>;
using Foreign = SecretSpec::Foreign;

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
    PlanUrlPart(request_.path, Place::Kind::kPath, plan_.path);
    if (request_.query) PlanQuery(*request_.query);
    ExamineElsewhere(request_.authority);
    PlanBodyFields();
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
  void PlanUrlPart(std::string_view text, Place::Kind kind, Values& values);
  void PlanQuery(std::string_view query);
  void PlanBodyFields();
  void ExamineElsewhere(std::string_view text);

  /// Whether placeholder ID at PLACE is to be replaced; reports the use or the violation.
  bool Judge(size_t id, const Place& place);
  void Use(size_t id, Values& values) const;

  bool IsInjected(std::string_view name) const;
  bool IsCredentialHere(std::string_view name) const;
  Foreign StrictestForeign() const;
  void Refuse(Refusal refusal);
  void RefuseForeign(std::string_view where);

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
    if (entry->spec.inject.empty() || OutOfScope(*entry, target_, request_)) continue;
    if (!entry->value) {
      Refuse(Unavailable(*entry));
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
  if (foreign && StrictestForeign() == Foreign::kBlock) RefuseForeign("a header for credentials");
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
    if (Judge(match.id, {Place::Kind::kField, field.name})) Use(match.id, change.values);
  }
  if (!change.values.empty()) plan_.changes.push_back(std::move(change));
}

/// The path or the query: a client may have percent-encoded any of a placeholder's characters.
void Planner::PlanUrlPart(std::string_view text, Place::Kind kind, Values& values) {
  const SpelledText spelled(text, Spelling::kPercent, SpelledText::End::kFinal);
  for (const auto& match : index_.FindAll(spelled.meant())) {
    if (Judge(match.id, {kind})) Use(match.id, values);
  }
}

void Planner::PlanQuery(std::string_view query) {
  PlanUrlPart(query, Place::Kind::kQuery, plan_.query);
  const Foreign foreign = StrictestForeign();  // kPass without a bound secret.
  if (foreign == Foreign::kPass) return;
  plan_.query_stripped = ForeignParameters(query, index_);
  if (plan_.query_stripped.empty() || foreign == Foreign::kStrip) return;
  RefuseForeign("a parameter for credentials in its query");
}

void Planner::PlanBodyFields() {
  if (!MayChangeBody(entries_, target_, request_)) return;
  if (auto refusal = BodyIntegrityConflict(request_.headers)) return Refuse(*std::move(refusal));
  plan_.drop_body_digests = true;
}

void Planner::ExamineElsewhere(std::string_view text) {
  for (const auto& match : index_.FindAll(text)) Judge(match.id, {Place::Kind::kElsewhere});
}

bool Planner::Judge(size_t id, const Place& place) {
  const Entry& entry = entries_[id];
  if (std::optional<Refusal> violation = ViolationOf(entry, target_, request_, place)) {
    RecordViolation(entry, place, *std::move(violation), plan_.examination);
    return false;
  }
  if (!entry.value) {
    Refuse(Unavailable(entry));
    return false;
  }
  AddOnce(plan_.examination.used, entry.spec.name);
  return true;
}

void Planner::Use(size_t id, Values& values) const {
  values.resize(index_.size());
  values[id] = entries_[id].value->Reveal();
}

bool Planner::IsInjected(std::string_view name) const {
  return std::any_of(plan_.injections.begin(), plan_.injections.end(),
                     [name](const Injection& injection) {
                       const auto& inject = injection.entry->spec.inject[injection.inject];
                       return IsSameField(inject.first, name);
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

void Planner::RefuseForeign(std::string_view where) {
  Refuse(ForeignCredential(bound_, *target_.host, where));
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

/// Sets NAME, and takes away what a server may take for it.
void SetField(Headers& headers, std::string_view name, std::string value) {
  std::erase_if(headers.fields(),
                [name](const HeaderField& field) { return IsSameField(field.name, name); });
  headers.Add(name, {});  // Makes the field; the value itself is moved, never copied.
  for (HeaderField& field : headers.fields()) {
    if (!EqualsIgnoreCase(field.name, name)) continue;
    field.value = std::move(value);
    return;
  }
}

/// TEXT with VALUES put in, each percent-encoded for its place.
void SubstituteUrlPart(const PlaceholderIndex& index, const Values& values, Encoding encoding,
                       std::string& text) {
  if (values.empty()) return;
  text = SubstituteSpelled(index, values, text, Spelling::kPercent, encoding);
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
  SubstituteUrlPart(index, plan.path, Encoding::kPathSegment, request.path);
  if (!plan.query_stripped.empty()) {
    request.query = WithoutParameters(*request.query, plan.query_stripped);
    if (request.query->empty()) request.query.reset();
  }
  if (request.query) SubstituteUrlPart(index, plan.query, Encoding::kQuery, *request.query);
  if (plan.drop_body_digests) DropBodyDigests(request.headers);
  for (const Injection& injection : plan.injections) {
    const auto& [name, form] = injection.entry->spec.inject[injection.inject];
    SetField(request.headers, name, Injected(*injection.entry, form));
  }
}

}  // namespace sallyport::secrets
