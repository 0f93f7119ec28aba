// A request to a host that has a secret may carry nothing but placeholders: a guest could otherwise
// use an allowed API with a key of its own, whose owner then reads what the guest sends. So a field
// that holds a placeholder is looked at as well: a key beside it may be the one that the server
// takes. What is left when the placeholders are taken away must be too little to be a key.

#include "secrets/foreign.h"

#include <algorithm>
#include <array>

#include "base/http_message.h"
#include "secrets/public_prefix.h"

namespace sallyport::secrets {
namespace {

using Matches = std::vector<PlaceholderIndex::Match>;

/// Keys are longer; words in front of one ("Klaviyo-API-Key", "token=") are shorter.
constexpr size_t kShortestKey = 16;
/// A first word that something follows is a scheme up to this length.
constexpr size_t kLongestScheme = 20;
constexpr size_t kLongestUser = 64;
constexpr std::string_view kSeparators = " \t\"',;=";

/// Schemes that clients send alone when they have no key.
constexpr std::array kLoneSchemes = std::to_array<std::string_view>({"Basic", "Bearer", "Token"});

/// What services tell their users to write as the password when the key is the user name.
constexpr std::array kFillers =
    std::to_array<std::string_view>({"", "x", "X", "x-oauth-basic", "api_token", "unused"});

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Where the scheme ends that TEXT begins with; 0 when it does not.
size_t SchemeEnd(std::string_view text) {
  const size_t first = std::min(text.find_first_not_of(" \t"), text.size());
  const size_t end = text.find_first_of(" \t", first);
  if (end == std::string_view::npos) return 0;
  const std::string_view word = text.substr(first, end - first);
  const bool scheme =
      word.size() <= kLongestScheme && IsToken(word) && PublicPrefixOf(word).empty();
  return scheme ? end : 0;
}

bool HasKey(std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(kSeparators), text.size());
    if (end >= kShortestKey) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

/// Those of MATCHES that lie in PART, counted from its beginning; PART begins at PART_AT.
Matches Within(std::string_view part, size_t part_at, const Matches& matches) {
  Matches inside;
  for (PlaceholderIndex::Match match : matches) {
    if (match.at < part_at || match.at + match.size > part_at + part.size()) continue;
    match.at -= part_at;
    inside.push_back(match);
  }
  return inside;
}

/// Whether USER beside a password of ours can be a name, and not a key that makes a server ignore
/// the password.
bool IsPlainUser(std::string_view user) {
  return user.size() <= kLongestUser && PublicPrefixOf(user).empty();
}

bool IsFiller(std::string_view password) {
  return std::find(kFillers.begin(), kFillers.end(), password) != kFillers.end();
}

/// Whether something that may be a key is left of TEXT, from BEGIN, without the placeholders.
bool HoldsMore(std::string_view text, size_t begin, const Matches& matches) {
  for (const auto& match : matches) {
    if (HasKey(text.substr(begin, match.at - begin))) return true;
    begin = match.at + match.size;
  }
  return HasKey(text.substr(begin));
}

}  // namespace

bool HoldsForeign(std::string_view value, const Matches& matches) {
  if (matches.empty()) {
    const std::string_view word = Trimmed(value);
    return !word.empty() && std::none_of(kLoneSchemes.begin(), kLoneSchemes.end(),
                                         [word](auto s) { return EqualsIgnoreCase(word, s); });
  }
  return HoldsMore(value, SchemeEnd(value.substr(0, matches.front().at)), matches);
}

bool BasicHoldsForeign(std::string_view credentials, const Matches& matches) {
  if (matches.empty()) return !credentials.empty() && credentials != ":";
  if (matches.front().size == credentials.size()) return false;  // "user:password" is one secret.
  const size_t colon = credentials.find(':');
  if (colon == std::string_view::npos) return HoldsMore(credentials, 0, matches);
  const std::string_view user = credentials.substr(0, colon);
  const std::string_view password = credentials.substr(colon + 1);
  const Matches in_user = Within(user, 0, matches);
  const Matches in_password = Within(password, colon + 1, matches);
  const bool user_ours = in_user.empty() ? IsPlainUser(user) : !HoldsMore(user, 0, in_user);
  const bool password_ours =
      in_password.empty() ? IsFiller(password) : !HoldsMore(password, 0, in_password);
  const bool some_ours = !in_user.empty() || !in_password.empty();
  return !(some_ours && user_ours && password_ours);
}

}  // namespace sallyport::secrets
