#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "secrets/placeholder_index.h"

namespace sallyport::secrets {

/// A parameter in a query, with the separator behind it where it has one.
struct QueryParameter {
  size_t at = 0;
  size_t size = 0;
};

/// The parameters of QUERY that carry a credential which is no placeholder of INDEX, by what is
/// generally known of their names ("access_token", "X-Amz-Signature"). Names are compared without
/// regard to case, percent escapes, and '-' for '_'. Names that often mean something else ("key",
/// "token") count where the value has an issuer's known prefix.
std::vector<QueryParameter> ForeignParameters(std::string_view query,
                                              const PlaceholderIndex& index);

/// QUERY without PARAMETERS, which are in order and of this query; the rest is as it was.
std::string WithoutParameters(std::string_view query,
                              const std::vector<QueryParameter>& parameters);

}  // namespace sallyport::secrets
