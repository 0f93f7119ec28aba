#include "runtime/broker/token.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "runtime/broker/signing.h"

namespace sallyport::runtime {

namespace {

using nlohmann::json;

constexpr size_t kMaxSaid = 300;
/// Shorter ones are taken for this: a value is asked for anew before its end, and a server that says
/// "a millisecond" would be asked without a pause.
constexpr std::chrono::milliseconds kLeastLifetime{1000};
constexpr int64_t kMaxLifetimeSeconds = int64_t{365} * 24 * 3600;

/// application/x-www-form-urlencoded, appended to OUT, which must have room.
void AppendEncoded(std::string_view text, std::string& out) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '*';
    if (plain) {
      out.push_back(c);
    } else if (c == ' ') {
      out.push_back('+');
    } else {
      out.push_back('%');
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
}

void AppendParameter(std::string_view name, std::string_view value, std::string& out) {
  if (!out.empty()) out.push_back('&');
  out.append(name).push_back('=');
  AppendEncoded(value, out);
}

/// RFC 6749, 2.3.1: both encoded as in a form, then Basic.
Wiped BasicCredentials(std::string_view id, std::string_view secret) {
  Wiped pair;
  pair.text.reserve(3 * (id.size() + secret.size()) + 1);
  AppendEncoded(id, pair.text);
  pair.text.push_back(':');
  AppendEncoded(secret, pair.text);
  const Wiped encoded = Base64(pair.text);
  Wiped out;
  out.text.reserve(6 + encoded.text.size());
  out.text.append("Basic ").append(encoded.text);
  return out;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out.append(out.empty() ? "" : " ").append(word);
  return out;
}

/// TEXT of a server for a message: printable, short, and without what was SENT to it.
std::string Said(std::string text, const std::vector<std::string_view>& sent) {
  for (const auto secret : sent) {
    if (secret.empty()) continue;
    for (size_t at; (at = text.find(secret)) != text.npos;) text.replace(at, secret.size(), "…");
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() > kMaxSaid) text = text.substr(0, kMaxSaid) + "…";
  return text;
}

std::string TextOf(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The string KEY of OBJECT, taken out of it and wiped there.
Wiped TakeText(json& object, const char* key) {
  Wiped taken;
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_string()) return taken;
  auto& text = found->get_ref<std::string&>();
  taken.text = text;
  secrets::WipeString(text);
  return taken;
}

/// Whether TOKEN can stand in a header (RFC 6749, A.12: visible ASCII).
bool IsToken(std::string_view token) {
  return !token.empty() &&
         std::all_of(token.begin(), token.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::string Status(int status) {
  return "it answered " + std::to_string(status);
}

/// Seconds, also where a server wrote them as text.
Result<std::optional<std::chrono::milliseconds>> LifetimeOf(const json& object) {
  const auto found = object.find("expires_in");
  if (found == object.end() || found->is_null()) return std::nullopt;
  double seconds = -1;
  if (found->is_number()) seconds = found->get<double>();
  if (found->is_string()) {
    const std::string text = found->get<std::string>();
    const bool digits =
        !text.empty() && text.size() < 12 && text.find_first_not_of("0123456789") == text.npos;
    if (digits) seconds = static_cast<double>(std::stoll(text));
  }
  if (!(seconds > 0))
    return Fail(Code::kInvalid, "its answer has an expires_in that is no time ahead");
  seconds = std::min(seconds, static_cast<double>(kMaxLifetimeSeconds));
  return std::max(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)), kLeastLifetime);
}

/// In seconds: the clock's own unit does not reach the year 2263.
std::optional<std::chrono::sys_seconds> ParseTime(const std::string& text, const char* format) {
  std::tm fields = {};
  const char* end = strptime(text.c_str(), format, &fields);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return std::chrono::sys_seconds(std::chrono::seconds(timegm(&fields)));
}

}  // namespace

HttpRequest OAuth2Request(const OAuth2Source& source, std::string_view client_secret,
                          std::string_view refresh_token) {
  const bool refresh = source.grant == OAuth2Source::Grant::kRefreshToken;
  const std::string scopes = Joined(source.scopes);
  HttpRequest request;
  request.url = source.token_url;
  request.private_network = source.private_network;
  request.headers.Add("Content-Type", "application/x-www-form-urlencoded");
  request.headers.Add("Accept", "application/json");
  request.headers.Add("User-Agent", "sallyport");
  std::string& body = request.body.text;
  body.reserve(256 + 3 * (client_secret.size() + refresh_token.size() + scopes.size() +
                          source.client_id.size() + source.audience.value_or("").size()));
  AppendParameter("grant_type", refresh ? "refresh_token" : "client_credentials", body);
  if (refresh) AppendParameter("refresh_token", refresh_token, body);
  if (!scopes.empty()) AppendParameter("scope", scopes, body);
  if (source.audience) AppendParameter("audience", *source.audience, body);
  if (!client_secret.empty() && source.auth == OAuth2Source::Auth::kBasic) {
    request.headers.Add("Authorization", BasicCredentials(source.client_id, client_secret).text);
    return request;
  }
  AppendParameter("client_id", source.client_id, body);
  if (!client_secret.empty()) AppendParameter("client_secret", client_secret, body);
  return request;
}

Result<Token> ReadOAuth2Answer(const HttpAnswer& answer,
                               const std::vector<std::string_view>& sent) {
  json object = json::parse(answer.body.text, nullptr, false);
  const std::string code = TextOf(object, "error");
  if (answer.status != 200 || !code.empty()) {
    std::string message = Status(answer.status);
    if (!code.empty()) message += ": " + Said(code, sent);
    const std::string more = TextOf(object, "error_description");
    if (!more.empty()) message += ": " + Said(more, sent);
    return Fail(Code::kDenied, std::move(message));
  }
  Token token;
  token.value = TakeText(object, "access_token");
  Wiped refresh_token = TakeText(object, "refresh_token");
  if (!IsToken(token.value.text)) return Fail(Code::kInvalid, "its answer has no access_token");
  const std::string type = TextOf(object, "token_type");
  if (!type.empty() && !EqualsIgnoreCase(type, "bearer")) {
    return Fail(Code::kUnsupported,
                "it gives tokens of the type " + Said(type, sent) + "; only Bearer can be used");
  }
  auto lifetime = LifetimeOf(object);
  if (!lifetime) return tl::unexpected(std::move(lifetime).error());
  token.lifetime = *lifetime;
  if (!refresh_token.text.empty()) {
    if (!IsToken(refresh_token.text))
      return Fail(Code::kInvalid, "its answer has a refresh_token that is none");
    token.refresh_token = std::move(refresh_token);
  }
  return token;
}

std::string GitHubAppClaims(const GitHubAppSource& source,
                            std::chrono::system_clock::time_point now) {
  const int64_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  const json claims = {{"iat", seconds - 60}, {"exp", seconds + 540}, {"iss", source.app_id}};
  return claims.dump(-1, ' ', false, json::error_handler_t::replace);
}

HttpRequest InstallationTokenRequest(const GitHubAppSource& source, std::string_view jwt) {
  HttpRequest request;
  request.url = source.base_url;
  if (!request.url.target.ends_with('/')) request.url.target.push_back('/');
  request.url.target.append("app/installations/")
      .append(source.installation_id)
      .append("/access_tokens");
  request.private_network = source.private_network;
  request.headers.Add("Accept", "application/vnd.github+json");
  request.headers.Add("Content-Type", "application/json");
  request.headers.Add("User-Agent", "sallyport");
  request.headers.Add("X-GitHub-Api-Version", "2022-11-28");
  Wiped bearer;
  bearer.text.reserve(7 + jwt.size());
  bearer.text.append("Bearer ").append(jwt);
  request.headers.Add("Authorization", bearer.text);
  json body = json::object();
  if (!source.repositories.empty()) body["repositories"] = source.repositories;
  for (const auto& [name, level] : source.permissions) body["permissions"][name] = level;
  request.body.text = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return request;
}

Result<Token> ReadInstallationToken(const HttpAnswer& answer,
                                    std::chrono::system_clock::time_point now) {
  json object = json::parse(answer.body.text, nullptr, false);
  if (answer.status != 201) {
    const std::string said = Said(TextOf(object, "message"), {});
    return Fail(Code::kDenied, Status(answer.status) + (said.empty() ? "" : ": " + said));
  }
  Token token;
  token.value = TakeText(object, "token");
  if (!IsToken(token.value.text)) return Fail(Code::kInvalid, "its answer has no token");
  const auto expires = ParseTime(TextOf(object, "expires_at"), "%Y-%m-%dT%H:%M:%SZ");
  if (!expires) return Fail(Code::kInvalid, "its answer has no expires_at");
  auto begins = std::chrono::ceil<std::chrono::seconds>(now);
  if (const auto* date = answer.headers.Find("date")) {
    begins = ParseTime(*date, "%a, %d %b %Y %H:%M:%S GMT").value_or(begins);
  }
  const std::chrono::seconds lifetime = *expires - begins;
  if (lifetime.count() <= 0) return Fail(Code::kInvalid, "its token has expired already");
  token.lifetime = std::min(lifetime, std::chrono::seconds(kMaxLifetimeSeconds));
  return token;
}

}  // namespace sallyport::runtime
