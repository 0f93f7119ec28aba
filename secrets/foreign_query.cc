#include "secrets/foreign_query.h"

#include <algorithm>
#include <array>

#include "secrets/credential_headers.h"
#include "secrets/foreign.h"
#include "secrets/public_prefix.h"
#include "secrets/spelled_text.h"

namespace sallyport::secrets {
namespace {

// Only what is for nothing else than a credential. Beside these, every credential header's name.
constexpr std::array kCredentialParameters = std::to_array<std::string_view>({
    "app-key",
    "bearer-token",
    "client-secret",
    "oauth-token",
    "personal-access-token",
    "secret-key",
    "subscription-key",  // Azure API Management
    "x-amz-credential",  // Presigned requests: whoever signed them pays, and reads.
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
});
/// These are pages, places and words as well.
constexpr std::array kPerhaps = std::to_array<std::string_view>({"auth", "key", "secret", "token"});

// ';' separates too for some servers, and what stands behind it is part of a value for others.
constexpr std::string_view kSeparators = "&;";

template <size_t N>
bool IsOneOf(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::any_of(names.begin(), names.end(),
                     [name](std::string_view known) { return IsSameField(name, known); });
}

bool IsForeign(std::string_view parameter, const PlaceholderIndex& index) {
  const size_t equals = parameter.find('=');
  if (equals == std::string_view::npos) return false;
  const SpelledText name(parameter.substr(0, equals), Spelling::kPercent, SpelledText::End::kFinal);
  const SpelledText value(parameter.substr(equals + 1), Spelling::kPercent,
                          SpelledText::End::kFinal);
  const bool known =
      IsCredentialHeader(name.meant()) || IsOneOf(name.meant(), kCredentialParameters);
  const bool perhaps = IsOneOf(name.meant(), kPerhaps) && !PublicPrefixOf(value.meant()).empty();
  return (known || perhaps) && HoldsForeign(value.meant(), index.FindAll(value.meant()));
}

}  // namespace

std::vector<QueryParameter> ForeignParameters(std::string_view query,
                                              const PlaceholderIndex& index) {
  std::vector<QueryParameter> foreign;
  for (size_t at = 0; at < query.size();) {
    const size_t end = std::min(query.find_first_of(kSeparators, at), query.size());
    const size_t next = std::min(end + 1, query.size());
    if (IsForeign(query.substr(at, end - at), index)) foreign.push_back({at, next - at});
    at = next;
  }
  return foreign;
}

std::string WithoutParameters(std::string_view query,
                              const std::vector<QueryParameter>& parameters) {
  std::string rest;
  size_t done = 0;
  for (const QueryParameter& parameter : parameters) {
    rest += query.substr(done, parameter.at - done);
    done = parameter.at + parameter.size;
  }
  rest += query.substr(done);
  const bool cut_the_last = done == query.size() && !query.ends_with('&') && !query.ends_with(';');
  if (cut_the_last && !rest.empty()) rest.pop_back();  // The separator before it.
  return rest;
}

}  // namespace sallyport::secrets
