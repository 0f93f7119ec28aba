#include "secrets/body_plan.h"

#include <algorithm>
#include <string_view>

#include "secrets/encodings.h"
#include "secrets/violation.h"

namespace sallyport::secrets {
namespace {

using Format = MediaType::Format;
using Body = SecretSpec::Body;
using OnViolation = SecretSpec::OnViolation;

Place PlaceOf(const Entry& entry, Format format) {
  return {IsKind(format, entry.spec.body) ? Place::Kind::kBody : Place::Kind::kOtherBody};
}

/// Whether no client escapes any of TEXT in any body.
bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

/// Whether a placeholder of ENTRY in a wrong place ends the request, wherever it goes.
bool EndsRequests(const Entry& entry) {
  return entry.spec.on_violation == OnViolation::kBlock ||
         entry.spec.on_violation == OnViolation::kTerminate;
}

/// Whether ENTRY may ask that some body be looked at. Most stores have none that does.
bool MayConcern(const Entry& entry) {
  return entry.spec.body != Body::kNone || EndsRequests(entry);
}

/// Whether ENTRY asks that a body to TARGET be looked at in which it has VIOLATION, or none: to put
/// it in, to refuse, or, at its own hosts, to report that this is no body for it.
bool IsConcerned(const Entry& entry, const RequestTarget& target,
                 const std::optional<Refusal>& violation) {
  if (!violation || EndsRequests(entry)) return true;
  return entry.spec.body != Body::kNone && target.host && MayReceive(entry, *target.host);
}

}  // namespace

BodyPlan MakeBodyPlan(const Entries& entries, const PlaceholderIndex& index,
                      const RequestTarget& target, const RequestHead& request) {
  BodyPlan plan;
  plan.keeps_length = true;
  plan.only_looks = true;
  if (std::none_of(entries.begin(), entries.end(), MayConcern)) return plan;
  plan.type = MediaTypeOf(request.headers);
  for (size_t id = 0; id < entries.size(); ++id) {
    const Entry& entry = entries[id];
    plan.violations.push_back(
        ViolationOf(entry, target, request, PlaceOf(entry, plan.type.format)));
    if (IsConcerned(entry, target, plan.violations.back())) plan.needed = true;
    if (plan.violations.back()) continue;
    plan.only_looks = false;
    if (!entry.value) continue;
    const std::string& placeholder = index.placeholder(id);
    const size_t size = EncodedSize(entry.value->Reveal(), EncodingOf(plan.type.format));
    if (size != placeholder.size() || !IsPlain(placeholder)) plan.keeps_length = false;
  }
  return plan;
}

bool MayChangeBody(const Entries& entries, const RequestTarget& target,
                   const RequestHead& request) {
  const auto has_body = [](const Entry& entry) { return entry.spec.body != Body::kNone; };
  if (std::none_of(entries.begin(), entries.end(), has_body)) return false;
  const Format format = MediaTypeOf(request.headers).format;
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.value && !ViolationOf(entry, target, request, PlaceOf(entry, format));
  });
}

Encoding EncodingOf(MediaType::Format format) {
  switch (format) {
    case Format::kJson:
      return Encoding::kJson;
    case Format::kUrlEncoded:
      return Encoding::kForm;
    case Format::kMultipart:
    case Format::kText:
    case Format::kOther:
      break;
  }
  return Encoding::kRaw;
}

}  // namespace sallyport::secrets
