#include "mitm/token_endpoint.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace sallyport::mitm {
namespace {

using nlohmann::json;
using Grant = OAuth2Source::Grant;

SecretSpec OAuth(const std::string& name, const std::string& client,
                 std::vector<std::string> scopes = {}, Grant grant = Grant::kClientCredentials,
                 const std::string& url = "https://id.test/oauth/token") {
  OAuth2Source source;
  source.token_url = *HttpUrl::Parse(url);
  source.client_id = client;
  source.scopes = std::move(scopes);
  source.grant = grant;
  SecretSpec spec;
  spec.name = name;
  spec.source = std::move(source);
  return spec;
}

SecretSpec App(const std::string& name, std::vector<std::string> repositories = {},
               const std::string& base = "https://api.github.com") {
  GitHubAppSource source;
  source.base_url = *HttpUrl::Parse(base);
  source.app_id = "12";
  source.installation_id = "34";
  source.repositories = std::move(repositories);
  SecretSpec spec;
  spec.name = name;
  spec.source = std::move(source);
  return spec;
}

RequestHead Post(const std::string& path, std::optional<std::string> query = {}) {
  return {.method = "POST",
          .scheme = "https",
          .authority = "id.test",
          .path = path,
          .query = std::move(query),
          .headers = {}};
}

size_t Found(const std::vector<SecretSpec>& all, const RequestHead& head,
             const std::string& host = "id.test", uint16_t port = 443) {
  return TokenSecretsFor(all, *HostName::Parse(host), port, head).size();
}

/// What is chosen of SECRETS, whose placeholders are "ph-" and their names, or the error.
std::string Chosen(const std::vector<SecretSpec>& secrets, const TokenParameters& parameters) {
  std::vector<std::string> placeholders;
  for (const auto& secret : secrets) placeholders.push_back("ph-" + secret.name);
  const TokenChoice choice = ChooseTokenSecret(secrets, placeholders, parameters);
  return choice.refusal ? choice.refusal->error : secrets.at(choice.chosen).name;
}

TokenParameters Asks(const std::string& client, std::vector<std::string> scopes = {},
                     const std::string& credential = "dummy",
                     const std::string& grant = "client_credentials") {
  TokenParameters parameters{.grant_type = grant,
                             .scopes = std::move(scopes),
                             .client_ids = {},
                             .credentials = {credential}};
  if (!client.empty()) parameters.client_ids.push_back({client});
  return parameters;
}

TEST_CASE("exactly a POST to the declared URL is a call of a token endpoint") {
  const std::vector<SecretSpec> all = {OAuth("A", "me")};
  CHECK(Found(all, Post("/oauth/token")) == 1);
  CHECK(Found(all, Post("/oauth/%74oken")) == 1);
  CHECK(Found(all, Post("/oauth/./token")) == 1);
  CHECK(Found(all, Post("/oauth/token/")) == 0);
  CHECK(Found(all, Post("/oauth/revoke")) == 0);
  CHECK(Found(all, Post("/oauth/TOKEN")) == 0);
  CHECK(Found(all, Post("/oauth%2Ftoken")) == 0);
  CHECK(Found(all, Post("/oauth/token", "")) == 0);
  CHECK(Found(all, Post("/oauth/token", "a=b")) == 0);
  CHECK(Found(all, Post("/oauth/token"), "other.test") == 0);
  CHECK(Found(all, Post("/oauth/token"), "id.test", 8443) == 0);
  RequestHead head = Post("/oauth/token");
  head.method = "GET";
  CHECK(Found(all, head) == 0);
  head = Post("/oauth/token");
  head.scheme = "http";
  CHECK(Found(all, head) == 0);
}

TEST_CASE("a declared query is a part of the endpoint, and a port is") {
  const auto all = {OAuth("A", "me", {}, Grant::kClientCredentials, "https://id.test:8443/t?p=1")};
  CHECK(Found(all, Post("/t", "p=1"), "id.test", 8443) == 1);
  CHECK(Found(all, Post("/t"), "id.test", 8443) == 0);
  CHECK(Found(all, Post("/t", "p=1")) == 0);
}

TEST_CASE("a secret that the guest is not shown, or that comes from elsewhere, has no endpoint") {
  SecretSpec hidden = OAuth("A", "me");
  hidden.expose = false;
  SecretSpec plain;
  plain.name = "B";
  plain.source = EnvSource{"B"};
  CHECK(Found({hidden, plain}, Post("/oauth/token")) == 0);
}

TEST_CASE("an installation's tokens are had below the API's URL") {
  CHECK(Found({App("A")}, Post("/app/installations/34/access_tokens"), "api.github.com") == 1);
  CHECK(Found({App("A")}, Post("/app/installations/35/access_tokens"), "api.github.com") == 0);
  CHECK(Found({App("A")}, Post("/app/installations/34"), "api.github.com") == 0);
  CHECK(Found({App("A", {}, "https://ghe.test/api/v3")},
              Post("/api/v3/app/installations/34/access_tokens"), "ghe.test") == 1);
}

TEST_CASE("one secret is meant by any client that does not say that it is another") {
  const std::vector<SecretSpec> one = {OAuth("A", "me", {"read"})};
  CHECK(Chosen(one, Asks("me")) == "A");
  CHECK(Chosen(one, Asks("")) == "A");
  CHECK(Chosen(one, Asks("ph-A")) == "A");
  CHECK(Chosen(one, Asks("me", {"write"})) == "A");  // Told by the answer's scope.
  CHECK(Chosen(one, Asks("me", {}, "x", "refresh_token")) == "A");
  CHECK(Chosen(one, Asks("you")) == "invalid_client");
  TokenParameters both = Asks("me");
  both.client_ids.push_back({"you"});
  CHECK(Chosen(one, both) == "invalid_client");
  for (const char* grant :
       {"", "password", "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"}) {
    CHECK(Chosen(one, Asks("me", {}, "x", grant)) == "unsupported_grant_type");
  }
}

TEST_CASE("secrets that share an endpoint are told apart, or the call is refused") {
  const std::vector<SecretSpec> all = {OAuth("A", "me", {"read"}),
                                       OAuth("B", "me", {"read", "write"}), OAuth("C", "you"),
                                       OAuth("D", "me", {"read"}, Grant::kRefreshToken)};
  CHECK(Chosen(all, Asks("you")) == "C");
  CHECK(Chosen(all, Asks("me", {"read"})) == "A");
  CHECK(Chosen(all, Asks("me", {"write"})) == "B");
  CHECK(Chosen(all, Asks("me", {"write", "read"})) == "B");
  CHECK(Chosen(all, Asks("me", {}, "x", "refresh_token")) == "D");
  CHECK(Chosen(all, Asks("me")) == "invalid_request");
  CHECK(Chosen(all, Asks("me", {"admin"})) == "invalid_request");
  CHECK(Chosen(all, Asks("me", {}, "ph-B")) == "B");
  CHECK(Chosen(all, Asks("", {}, "ph-C")) == "C");
  CHECK(Chosen(all, Asks("you", {}, "ph-B")) == "invalid_client");
  CHECK(Chosen(all, Asks("nobody")) == "invalid_client");
  const std::vector<std::string> placeholders = {"1", "2", "3", "4"};
  const auto refused = ChooseTokenSecret(all, placeholders, Asks("me"));
  CHECK(refused.refusal->refusal.detail.find("(A, B)") != std::string::npos);
}

TEST_CASE("installations' secrets are told apart by what they are narrowed to") {
  const std::vector<SecretSpec> all = {App("A", {"two", "one"}), App("B")};
  const std::vector<std::string> placeholders = {"ph-A", "ph-B"};
  const auto chosen = [&](const InstallationParameters& asked) {
    return ChooseTokenSecret(all, placeholders, asked);
  };
  CHECK(chosen({.bearer = "j", .repositories = {"one", "two"}, .permissions = {}}).chosen == 0);
  const auto whole = chosen({.bearer = "j", .repositories = {}, .permissions = {}});
  CHECK_FALSE(whole.refusal);
  CHECK(whole.chosen == 1);
  CHECK(chosen({.bearer = "ph-A", .repositories = {}, .permissions = {}}).chosen == 0);
  CHECK(chosen({.bearer = "j", .repositories = {"x"}, .permissions = {}}).refusal);
}

TEST_CASE("a guest is told a lifetime between a minute and a day") {
  using namespace std::chrono_literals;
  CHECK(ToldLifetime({}) == 1h);
  CHECK(ToldLifetime(0ms) == 60s);
  CHECK(ToldLifetime(1800'500ms) == 1800s);
  CHECK(ToldLifetime(1000h) == 24h);
}

TEST_CASE("answers are what clients of OAuth and of GitHub expect") {
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  const auto token =
      MakeTokenAnswer(OAuth("A", "me", {"read", "write"}), "ph", std::chrono::seconds(90), now);
  CHECK(token.head.status == 200);
  CHECK(*token.head.headers.Find("cache-control") == "no-store");
  CHECK(*token.head.headers.Find("content-type") == "application/json");
  CHECK(json::parse(token.body) == json{{"access_token", "ph"},
                                        {"token_type", "Bearer"},
                                        {"expires_in", 90},
                                        {"scope", "read write"}});
  CHECK_FALSE(json::parse(MakeTokenAnswer(OAuth("A", "me"), "ph", {}, now).body).contains("scope"));

  SecretSpec app = App("A", {"one"});
  std::get<GitHubAppSource>(app.source).permissions = {{"contents", "read"}};
  const auto installation = MakeTokenAnswer(app, "ph", std::chrono::seconds(60), now);
  CHECK(installation.head.status == 201);
  CHECK(installation.head.reason == "Created");
  CHECK(json::parse(installation.body) == json{{"token", "ph"},
                                               {"expires_at", "2023-11-14T22:14:20Z"},
                                               {"permissions", {{"contents", "read"}}},
                                               {"repository_selection", "selected"}});
}

TEST_CASE("a refusal is read by clients of OAuth, of GitHub, and by people") {
  secrets::Store store;
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("api.test")};
  REQUIRE(store.Add(spec, std::move(*secrets::Secret::Create("the-value-of-a-token-0123"))));
  const auto answer = MakeTokenRefusal({.error = "invalid_client",
                                        .refusal = {.reason = Reason::kForeignCredential,
                                                    .status = 401,
                                                    .detail = "not the-value-of-a-token-0123",
                                                    .rule = {},
                                                    .how_to_allow = {}}},
                                       7, store);
  CHECK(answer.head.status == 401);
  CHECK(*answer.head.headers.Find("www-authenticate") == "Basic");
  const json read = json::parse(answer.body);
  CHECK(read["error"] == "invalid_client");
  CHECK(read["type"] == "urn:sallyport:foreign_credential");
  CHECK(read["flow"] == 7);
  CHECK(read["error_description"] == read["detail"]);
  CHECK(read["message"] == read["detail"]);
  CHECK(answer.body.find("the-value-of") == std::string::npos);
}

}  // namespace
}  // namespace sallyport::mitm
