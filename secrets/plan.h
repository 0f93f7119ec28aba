#pragma once

#include <cstddef>
#include <vector>

#include "base/http_message.h"
#include "secrets/entry.h"
#include "secrets/foreign_query.h"
#include "secrets/placeholder_index.h"
#include "secrets/store.h"
#include "secrets/substituter.h"

namespace sallyport::secrets {

/// What becomes of one field of a request.
struct FieldChange {
  enum class Kind {
    kReplace,       ///< Placeholders in the value as it stands.
    kReplaceBasic,  ///< Placeholders in the decoded Basic credentials.
    kRemove,        ///< A foreign credential that is stripped.
  };
  size_t field = 0;  ///< Its place among the request's fields.
  Kind kind = Kind::kReplace;
  Values values;
};

/// A field that is set whatever the guest sent in it.
struct Injection {
  const Entry* entry = nullptr;
  size_t inject = 0;  ///< Its place in the entry's spec.inject.
};

/// All that becomes of a request: what Store::Examine reports and Store::Substitute does.
struct Plan {
  Examination examination;
  std::vector<FieldChange> changes;  ///< In the order of the fields.
  Values path;                       ///< What goes into the path; empty: nothing.
  Values query;                      ///< And into the query.
  /// Foreign credentials in the query, to be stripped before that.
  std::vector<QueryParameter> query_stripped;
  bool drop_body_digests = false;  ///< The body may change: fields that vouch for it go.
  std::vector<Injection> injections;
};

/// Decides about REQUEST. The plan refers to ENTRIES and their values.
Plan MakePlan(const Entries& entries, const PlaceholderIndex& index, const RequestTarget& target,
              const RequestHead& request);

/// Carries PLAN out on the request it was made for. Does nothing when it refuses.
void Apply(const Plan& plan, const PlaceholderIndex& index, RequestHead& request);

}  // namespace sallyport::secrets
