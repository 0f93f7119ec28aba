#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

TEST_CASE("a secret's command is read as its arguments, with the policy's folder") {
  Policy policy(R"(secret "A" { from = command { "gh", "auth", "token; rm -r $HOME", "", lifetime = "1h" }, hosts = "a.example" }
    secret "B" { from = command { "./print" }, hosts = "a.example" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const auto& first = std::get<CommandSource>(secrets[0].source);
  CHECK(first.argv == std::vector<std::string>{"gh", "auth", "token; rm -r $HOME", ""});
  CHECK(first.folder == "/home/me/project");
  CHECK(first.lifetime == std::chrono::hours(1));
  CHECK(std::get<CommandSource>(secrets[1].source).lifetime.count() == 0);
}

TEST_CASE("an OAuth2 source is read") {
  Policy policy(R"(secret "A" { from = oauth2 { token_url = "https://id.example.com:8443/token?tenant=1", client_id = "me",
      client_secret = env "S", scopes = { "read", "https://x/y" }, audience = "api", auth = "post" }, hosts = "a.example" }
    secret "B" { from = oauth2 { token_url = "http://127.0.0.1:8080/t", private = true, client_id = "me",
      refresh_token = file "refresh" }, hosts = "a.example" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const auto& first = std::get<OAuth2Source>(secrets[0].source);
  CHECK(first.token_url.ToString() == "https://id.example.com:8443/token?tenant=1");
  CHECK(first.grant == OAuth2Source::Grant::kClientCredentials);
  CHECK(first.auth == OAuth2Source::Auth::kPost);
  CHECK(first.client_id == "me");
  CHECK(std::get<EnvSource>(*first.client_secret).variable == "S");
  CHECK(first.scopes == std::vector<std::string>{"read", "https://x/y"});
  CHECK(first.audience == "api");
  CHECK_FALSE(first.private_network);
  const auto& second = std::get<OAuth2Source>(secrets[1].source);
  CHECK(second.grant == OAuth2Source::Grant::kRefreshToken);
  CHECK(second.auth == OAuth2Source::Auth::kBasic);
  CHECK_FALSE(second.client_secret);
  CHECK(std::get<FileSource>(*second.refresh_token).path == "/home/me/project/refresh");
  CHECK(second.private_network);
  CHECK_FALSE(second.token_url.tls);
}

TEST_CASE("a GitHub App is read") {
  Policy policy(R"(secret "A" { from = github_app { app_id = 12, installation_id = "34", private_key = file "app.pem",
      repositories = { "one", "two" }, permissions = { contents = "read", issues = "write" } }, hosts = "api.github.com" }
    secret "B" { from = github_app { app_id = "Iv1.abc", installation_id = 1, private_key = command { "pass", "app" },
      base_url = "https://ghe.example.com/api/v3" }, hosts = "ghe.example.com" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const auto& first = std::get<GitHubAppSource>(secrets[0].source);
  CHECK(first.base_url.ToString() == "https://api.github.com/");
  CHECK(first.app_id == "12");
  CHECK(first.installation_id == "34");
  CHECK(std::get<FileSource>(first.private_key).path == "/home/me/project/app.pem");
  CHECK(first.repositories == std::vector<std::string>{"one", "two"});
  CHECK(first.permissions ==
        std::vector<std::pair<std::string, std::string>>{{"contents", "read"}, {"issues", "write"}});
  const auto& second = std::get<GitHubAppSource>(secrets[1].source);
  CHECK(second.base_url.ToString() == "https://ghe.example.com/api/v3");
  CHECK(std::get<CommandSource>(second.private_key).argv.size() == 2);
}

std::string FromSource(const std::string& source) {
  return "secret 'A' { from = " + source + ", hosts = 'a.example' }";
}

TEST_CASE("a source of secrets is checked") {
  const std::string oauth = "token_url = 'https://a.example/t', client_id = 'c', ";
  const std::string app = "app_id = 1, installation_id = 2, ";
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"command 'gh'", "command takes one table"},
      {"command { }", "names no program"},
      {"command { '' }", "names no program"},
      {"command { 'gh', 5 }", "argument 2 must be a string"},
      {"command { 'gh', lifetme = '1h' }", "did you mean 'lifetime'?"},
      {"command { 'gh', lifetime = '1 hour' }", "'lifetime' must be a duration"},
      {"command { 'gh', lifetime = '0s' }", "'lifetime' must be a duration"},
      {"oauth2 'x'", "oauth2 takes one table"},
      {"oauth2 { }", "needs 'token_url'"},
      {"oauth2 { token_url = 'https://a.example/t', client_secret = env 'S' }", "needs 'client_id'"},
      {"oauth2 { " + oauth + "}", "needs 'client_secret'"},
      {"oauth2 { " + oauth + "client_secret = 'plain' }", "'client_secret' must be env"},
      {"oauth2 { " + oauth + "client_secret = oauth2 { " + oauth + "client_secret = env 'S' } }",
       "not another server's token"},
      {"oauth2 { " + oauth + "client_secret = env 'S', grant = 'refresh' }", "'grant' can't be"},
      {"oauth2 { " + oauth + "grant = 'refresh_token' }", "needs 'refresh_token'"},
      {"oauth2 { " + oauth + "client_secret = env 'S', grant = 'client_credentials', refresh_token = env 'R' }",
       "'refresh_token' is for grant"},
      {"oauth2 { " + oauth + "client_secret = env 'S', auth = 'digest' }", "'auth' can't be"},
      {"oauth2 { " + oauth + "client_secret = env 'S', scopes = 'a b' }", "is not a scope"},
      {"oauth2 { " + oauth + "client_secret = env 'S', scope = 'a' }", "did you mean 'scopes'?"},
      {"oauth2 { token_url = 'http://a.example/t', client_id = 'c', client_secret = env 'S' }",
       "must begin with https://"},
      {"oauth2 { token_url = 'https://u:p@a.example/t', client_id = 'c', client_secret = env 'S' }", "is not a URL"},
      {"oauth2 { token_url = 'https://localhost/t', client_id = 'c', client_secret = env 'S' }", "add private = true"},
      {"oauth2 { token_url = 'http://127.1/t', client_id = 'c', client_secret = env 'S' }", "add private = true"},
      {"github_app { " + app + "}", "needs 'private_key'"},
      {"github_app { app_id = 1, private_key = file 'k' }", "needs 'installation_id'"},
      {"github_app { app_id = 1, installation_id = '2/x', private_key = file 'k' }", "must be a number"},
      {"github_app { " + app + "private_key = file 'k', repositories = 'o/r' }", "without its owner"},
      {"github_app { " + app + "private_key = file 'k', permissions = { contents = 'reed' } }", "did you mean 'read'?"},
      {"github_app { " + app + "private_key = file 'k', base_url = 'ghe.example.com' }", "is not a URL"},
      {"github_app { " + app + "key = file 'k' }", "unknown field 'key'"},
  };
  for (const auto& [source, message] : mistakes) {
    const std::string text = FromSource(source);
    CheckMistakes({{text.c_str(), message.c_str()}});
  }
}

}  // namespace
}  // namespace sallyport::policy
