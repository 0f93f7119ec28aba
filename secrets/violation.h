#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/http_message.h"
#include "base/reason.h"
#include "secrets/entry.h"
#include "secrets/store.h"

namespace sallyport::secrets {

/// Where in a request a placeholder stands.
struct Place {
  enum class Kind {
    kField,  ///< The value of a field `field`.
    kPath,
    kQuery,
    kBody,       ///< Of the kind that the entry declares.
    kOtherBody,  ///< Of another kind, or a part of the body that holds no data.
    kElsewhere,  ///< A field's name, the authority.
  };
  Kind kind = Kind::kElsewhere;
  std::string_view field = {};
};

/// Why ENTRY's placeholder may not be replaced at PLACE of REQUEST to TARGET; nothing when it may.
/// Says nothing of whether the entry has a value.
std::optional<Refusal> ViolationOf(const Entry& entry, const RequestTarget& target,
                                   const RequestHead& request, const Place& place);

/// Why ENTRY, which TARGET may receive, may not go with REQUEST at all; nothing when it may.
std::optional<std::string> OutOfScope(const Entry& entry, const RequestTarget& target,
                                      const RequestHead& request);

/// Writes down in EXAMINATION that ENTRY's placeholder stands where REFUSAL says it may not:
/// as inert where ENTRY's on_violation, or its default at PLACE, lets it pass. The first refusal
/// stays.
void RecordViolation(const Entry& entry, const Place& place, Refusal refusal,
                     Examination& examination);

/// Why ENTRY's placeholder stays where it stands in a body: that is not data there, or it is
/// spelled so that its value would change a length that is announced.
Refusal MisplacedInBody(const Entry& entry);

/// The refusal of a body in which ENTRY's placeholder came in two pieces, with so long a pause that
/// the first was sent on.
Refusal TornInBody(const Entry& entry);

/// Why ENTRY's placeholder may not stand in trailers.
Refusal MisplacedInTrailers(const Entry& entry);

/// The refusal of a request to HOST, which may receive BOUND, not empty, for a credential of another
/// WHERE ("a header for credentials").
Refusal ForeignCredential(const std::vector<const Entry*>& bound, const HostName& host,
                          std::string_view where);

/// The refusal of a use of ENTRY, which has no value.
Refusal Unavailable(const Entry& entry);

/// Adds NAME to NAMES unless it is there.
void AddOnce(std::vector<std::string>& names, const std::string& name);

}  // namespace sallyport::secrets
