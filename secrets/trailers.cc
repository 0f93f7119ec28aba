#include "secrets/trailers.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "secrets/basic_auth.h"
#include "secrets/credential_headers.h"
#include "secrets/foreign.h"
#include "secrets/violation.h"

namespace sallyport::secrets {
namespace {

using Foreign = SecretSpec::Foreign;

class TrailerExaminer {
 public:
  TrailerExaminer(const Entries& entries, const PlaceholderIndex& index,
                  const RequestTarget& target, const RequestHead& request)
      : entries_(entries), index_(index), target_(target), request_(request) {
    for (const Entry& entry : entries_) {
      if (!target_.host || !MayReceive(entry, *target_.host)) continue;
      bound_.push_back(&entry);
      strictest_ = std::min(strictest_, entry.spec.foreign);
    }
  }

  Examination Examine(Headers& trailers) {
    std::erase_if(trailers.fields(), [this](const HeaderField& field) { return Strip(field); });
    return std::move(found_);
  }

 private:
  /// Notes what is wrong with FIELD; whether it goes.
  bool Strip(const HeaderField& field) {
    Report(index_.FindAll(field.name), {Place::Kind::kElsewhere});
    std::optional<std::string> basic;
    auto matches = index_.FindAll(field.value);
    if (matches.empty() && IsAuthorizationHeader(field.name)) basic = DecodeBasic(field.value);
    if (basic) matches = index_.FindAll(*basic);
    Report(matches, {Place::Kind::kField, field.name});
    const bool foreign =
        IsCredentialHere(field.name) && (basic ? BasicHoldsForeign(*basic, matches)
                                               : HoldsForeign(field.value, matches));
    if (!foreign || strictest_ == Foreign::kPass) return false;
    if (strictest_ == Foreign::kStrip) return true;
    if (!found_.refusal) found_.refusal = ForeignCredential(bound_, *target_.host, "its trailers");
    return false;
  }

  /// No declaration names trailers.
  void Report(const std::vector<PlaceholderIndex::Match>& matches, const Place& place) {
    for (const auto& match : matches) {
      const Entry& entry = entries_[match.id];
      std::optional<Refusal> refusal = ViolationOf(entry, target_, request_, place);
      RecordViolation(entry, place, refusal ? *std::move(refusal) : MisplacedInTrailers(entry),
                      found_);
    }
  }

  bool IsCredentialHere(std::string_view name) const {
    return std::any_of(bound_.begin(), bound_.end(), [name](const Entry* entry) {
      return IsCredentialHeaderOf(*entry, name);
    });
  }

  const Entries& entries_;
  const PlaceholderIndex& index_;
  const RequestTarget& target_;
  const RequestHead& request_;
  std::vector<const Entry*> bound_;
  Foreign strictest_ = Foreign::kPass;
  Examination found_;
};

}  // namespace

Examination ExamineTrailers(const Entries& entries, const PlaceholderIndex& index,
                            const RequestTarget& target, const RequestHead& request,
                            Headers& trailers) {
  return TrailerExaminer(entries, index, target, request).Examine(trailers);
}

}  // namespace sallyport::secrets
