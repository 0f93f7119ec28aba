#include "mitm/token_endpoint.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/path_glob.h"

namespace sallyport::mitm {
namespace {

using nlohmann::ordered_json;
using std::chrono::seconds;

constexpr seconds kLeastLifetime{60};
constexpr seconds kMostLifetime{24 * 3600};
/// Where nothing says that the value ends.
constexpr seconds kUsualLifetime{3600};

/// Where a secret's tokens are had, by URL and its path below it.
struct Endpoint {
  const HttpUrl* url;
  std::string target;
};

std::optional<Endpoint> EndpointOf(const SecretSpec& secret) {
  if (const auto* oauth = std::get_if<OAuth2Source>(&secret.source)) {
    return Endpoint{&oauth->token_url, oauth->token_url.target};
  }
  const auto* app = std::get_if<GitHubAppSource>(&secret.source);
  if (app == nullptr) return std::nullopt;
  std::string target = app->base_url.target;
  if (!target.ends_with('/')) target.push_back('/');
  target.append("app/installations/").append(app->installation_id).append("/access_tokens");
  return Endpoint{&app->base_url, std::move(target)};
}

bool SameTarget(const RequestHead& head, const std::string& target) {
  const size_t mark = target.find('?');
  std::optional<std::string> query;
  if (mark != target.npos) query = target.substr(mark + 1);
  if (head.query != query) return false;
  const std::string path = target.substr(0, mark);
  if (head.path == path) return true;
  const auto asked = NormalizePath(head.path);
  const auto declared = NormalizePath(path);
  return asked && declared && *asked == *declared;
}

TokenChoice RefusedChoice(std::string error, Reason reason, int status, std::string detail) {
  return {.chosen = 0,
          .refusal = TokenRefusal{.error = std::move(error),
                                  .refusal = {.reason = reason,
                                              .status = status,
                                              .detail = std::move(detail),
                                              .rule = {},
                                              .how_to_allow = {}}}};
}

using Indices = std::vector<size_t>;

/// Leaves in LEFT those that WANTED holds for; false, without a change, when it holds for none.
bool Narrow(Indices& left, const std::function<bool(size_t)>& wanted) {
  Indices kept;
  std::copy_if(left.begin(), left.end(), std::back_inserter(kept), wanted);
  if (kept.empty()) return false;
  left = std::move(kept);
  return true;
}

Indices AllOf(const std::vector<SecretSpec>& secrets) {
  Indices all(secrets.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  return all;
}

/// What is LEFT once everything has narrowed it; HOW says what would have.
TokenChoice Settle(const std::vector<SecretSpec>& secrets, const Indices& left,
                   const std::string& how) {
  if (left.size() == 1) return {.chosen = left.front(), .refusal = {}};
  constexpr size_t kNamed = 8;
  std::string names;
  for (size_t i = 0; i < std::min(left.size(), kNamed); ++i) {
    names += (i == 0 ? "" : ", ") + secrets[left[i]].name;
  }
  if (left.size() > kNamed) names += ", ...";
  return RefusedChoice("invalid_request", Reason::kBadRequest, 400,
                       "more than one secret of the policy gets its token here (" + names +
                           "), and the request does not tell which is meant; " + how);
}

bool Among(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

/// Whether every id that a client gave is SOURCE's, or PLACEHOLDER.
bool IsClient(const OAuth2Source& source, const std::string& placeholder,
              const TokenParameters& parameters) {
  return std::all_of(parameters.client_ids.begin(), parameters.client_ids.end(),
                     [&](const std::vector<std::string>& spellings) {
                       return Among(spellings, source.client_id) || Among(spellings, placeholder);
                     });
}

bool Has(const std::vector<std::string>& declared, const std::vector<std::string>& asked) {
  return std::all_of(asked.begin(), asked.end(),
                     [&](const std::string& scope) { return Among(declared, scope); });
}

std::string_view NameOf(OAuth2Source::Grant grant) {
  return grant == OAuth2Source::Grant::kRefreshToken ? "refresh_token" : "client_credentials";
}

const OAuth2Source& OAuth2Of(const SecretSpec& secret) {
  return std::get<OAuth2Source>(secret.source);
}

template <class T>
std::vector<T> Sorted(std::vector<T> list) {
  std::sort(list.begin(), list.end());
  return list;
}

LocalAnswer JsonAnswer(int status, const ordered_json& object) {
  LocalAnswer answer;
  answer.head.status = status;
  answer.head.reason = ReasonPhrase(status);
  answer.head.headers.Add("Content-Type", "application/json");
  answer.head.headers.Add("Cache-Control", "no-store");
  answer.head.headers.Add("Pragma", "no-cache");  // RFC 6749, 5.1.
  answer.body = object.dump(2, ' ', false, ordered_json::error_handler_t::replace);
  answer.body += '\n';
  return answer;
}

/// RFC 3339, as GitHub writes it.
std::string Timestamp(std::chrono::system_clock::time_point time) {
  const std::time_t at = std::chrono::system_clock::to_time_t(time);
  std::tm fields = {};
  if (gmtime_r(&at, &fields) == nullptr) return {};
  char text[32];
  const size_t size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &fields);
  return {text, size};
}

ordered_json InstallationToken(const GitHubAppSource& source, const std::string& placeholder,
                               std::chrono::system_clock::time_point expires) {
  ordered_json object;
  object["token"] = placeholder;
  object["expires_at"] = Timestamp(expires);
  object["permissions"] = ordered_json::object();
  for (const auto& [name, level] : source.permissions) object["permissions"][name] = level;
  object["repository_selection"] = source.repositories.empty() ? "all" : "selected";
  return object;
}

}  // namespace

std::vector<SecretSpec> TokenSecretsFor(const std::vector<SecretSpec>& all, const Host& host,
                                        uint16_t port, const RequestHead& head) {
  std::vector<SecretSpec> found;
  if (head.method != "POST" || head.scheme != "https") return found;
  for (const SecretSpec& secret : all) {
    if (!secret.expose || !NeedsNetwork(secret.source)) continue;
    const auto endpoint = EndpointOf(secret);
    if (!endpoint || !endpoint->url->tls || endpoint->url->port != port) continue;
    if (endpoint->url->host != host || !SameTarget(head, endpoint->target)) continue;
    if (!found.empty() && found.front().source.index() != secret.source.index()) continue;
    found.push_back(secret);
  }
  return found;
}

TokenChoice ChooseTokenSecret(const std::vector<SecretSpec>& secrets,
                              const std::vector<std::string>& placeholders,
                              const TokenParameters& parameters) {
  const std::string& grant = parameters.grant_type;
  if (grant != "client_credentials" && grant != "refresh_token") {
    return RefusedChoice(
        "unsupported_grant_type", Reason::kForeignCredential, 400,
        "this token endpoint belongs to a secret of the policy, so the gate answers for it; "
        "it takes the grants client_credentials and refresh_token");
  }
  Indices left = AllOf(secrets);
  Narrow(left, [&](size_t i) { return Among(parameters.credentials, placeholders[i]); });
  if (!Narrow(left, [&](size_t i) {
        return IsClient(OAuth2Of(secrets[i]), placeholders[i], parameters);
      })) {
    return RefusedChoice(
        "invalid_client", Reason::kForeignCredential, 401,
        "this token endpoint belongs to a secret of the policy, so the gate answers for it, "
        "and the client_id is not the one that the policy declares");
  }
  if (left.size() > 1) {
    Narrow(left, [&](size_t i) { return NameOf(OAuth2Of(secrets[i]).grant) == grant; });
  }
  const auto asked = Sorted(parameters.scopes);
  if (left.size() > 1) {
    Narrow(left, [&](size_t i) { return Has(OAuth2Of(secrets[i]).scopes, asked); });
  }
  if (left.size() > 1) {
    Narrow(left, [&](size_t i) { return Sorted(OAuth2Of(secrets[i]).scopes) == asked; });
  }
  return Settle(secrets, left, "ask for its scopes, or send its placeholder as the client_secret");
}

TokenChoice ChooseTokenSecret(const std::vector<SecretSpec>& secrets,
                              const std::vector<std::string>& placeholders,
                              const InstallationParameters& parameters) {
  const auto app = [&](size_t i) -> const GitHubAppSource& {
    return std::get<GitHubAppSource>(secrets[i].source);
  };
  Indices left = AllOf(secrets);
  Narrow(left, [&](size_t i) { return placeholders[i] == parameters.bearer; });
  if (left.size() > 1) {
    Narrow(left, [&](size_t i) {
      return Sorted(app(i).repositories) == parameters.repositories &&
             Sorted(app(i).permissions) == parameters.permissions;
    });
  }
  return Settle(secrets, left,
                "ask for its repositories and permissions, or send its placeholder as Bearer");
}

seconds ToldLifetime(std::optional<std::chrono::milliseconds> remaining) {
  if (!remaining) return kUsualLifetime;
  return std::clamp(std::chrono::duration_cast<seconds>(*remaining), kLeastLifetime, kMostLifetime);
}

LocalAnswer MakeTokenAnswer(const SecretSpec& secret, const std::string& placeholder,
                            seconds lifetime, std::chrono::system_clock::time_point now) {
  if (const auto* app = std::get_if<GitHubAppSource>(&secret.source)) {
    return JsonAnswer(201, InstallationToken(*app, placeholder, now + lifetime));
  }
  ordered_json object;
  object["access_token"] = placeholder;
  object["token_type"] = "Bearer";
  object["expires_in"] = lifetime.count();
  std::string scopes;
  for (const auto& scope : OAuth2Of(secret).scopes)
    scopes.append(scopes.empty() ? "" : " ") += scope;
  if (!scopes.empty()) object["scope"] = scopes;
  return JsonAnswer(200, object);
}

LocalAnswer MakeTokenRefusal(const TokenRefusal& refusal, uint64_t flow,
                             const secrets::Store& secrets) {
  const std::string told = secrets.Redact(refusal.refusal.detail);
  ordered_json object = {{"error", refusal.error}, {"error_description", told}, {"message", told}};
  object.update(
      ordered_json::parse(MakeProblem(refusal.refusal, flow, secrets).body, nullptr, false));
  LocalAnswer answer = JsonAnswer(refusal.refusal.status, object);
  // RFC 6749, 5.2.
  if (answer.head.status == 401) answer.head.headers.Add("WWW-Authenticate", "Basic");
  return answer;
}

}  // namespace sallyport::mitm
