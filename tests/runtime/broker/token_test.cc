#include "runtime/broker/token.h"

#include <catch2/catch.hpp>

#include "runtime/broker/signing.h"
#include "tests/runtime/broker/rsa_key.h"

namespace sallyport::runtime {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;
using std::chrono::seconds;

OAuth2Source OAuth() {
  OAuth2Source source;
  source.token_url = *HttpUrl::Parse("https://id.test/token");
  source.client_id = "the client";
  return source;
}

HttpAnswer Answer(int status, const std::string& body) {
  HttpAnswer answer;
  answer.status = status;
  answer.body.text = body;
  return answer;
}

Result<Token> Read(int status, const std::string& body) {
  return ReadOAuth2Answer(Answer(status, body), {"hunter2"});
}

TEST_CASE("client credentials go in Basic, encoded as RFC 6749 has it") {
  OAuth2Source source = OAuth();
  source.scopes = {"read", "a:b"};
  source.audience = "https://api.test/";
  const auto request = OAuth2Request(source, "s:cret+/ü", "");
  CHECK(request.body.text ==
        "grant_type=client_credentials&scope=read+a%3Ab&audience=https%3A%2F%2Fapi.test%2F");
  const std::string pair = "the+client:s%3Acret%2B%2F%C3%BC";
  CHECK(*request.headers.Find("authorization") == "Basic " + Base64(pair).text);
  CHECK(*request.headers.Find("content-type") == "application/x-www-form-urlencoded");
}

TEST_CASE("auth = \"post\" and public clients name the client in the body") {
  OAuth2Source source = OAuth();
  source.auth = OAuth2Source::Auth::kPost;
  const auto post = OAuth2Request(source, "s&x", "");
  CHECK(post.body.text == "grant_type=client_credentials&client_id=the+client&client_secret=s%26x");
  CHECK(post.headers.Find("authorization") == nullptr);
  source = OAuth();
  source.grant = OAuth2Source::Grant::kRefreshToken;
  const auto request = OAuth2Request(source, "", "r=1");
  CHECK(request.body.text == "grant_type=refresh_token&refresh_token=r%3D1&client_id=the+client");
  CHECK(request.headers.Find("authorization") == nullptr);
}

TEST_CASE("a token with its lifetime and its new refresh token is read") {
  const auto token = Read(
      200,
      R"({"access_token":"abc","token_type":"bearer","expires_in":3600,"refresh_token":"new"})");
  REQUIRE(token);
  CHECK(token->value.text == "abc");
  CHECK(token->lifetime == seconds(3600));
  CHECK(token->refresh_token->text == "new");
  CHECK(Read(200, R"({"access_token":"abc","expires_in":"60"})")->lifetime == seconds(60));
  CHECK(Read(200, R"({"access_token":"abc","expires_in":1.5})")->lifetime == milliseconds(1500));
  CHECK_FALSE(Read(200, R"({"access_token":"abc"})")->lifetime);
}

TEST_CASE("a lifetime is bounded, whatever a server says") {
  const auto told = [](const std::string& text) {
    return Read(200, R"({"access_token":"abc","expires_in":)" + text + "}");
  };
  for (const char* text : {"1e99", "1e300", "18446744073709551615", "\"99999999999\""}) {
    CAPTURE(text);
    CHECK(told(text)->lifetime == std::chrono::hours(24 * 365));
  }
  // Nobody is asked without a pause.
  for (const char* text : {"0.5", "1e-9", "1", "\"1\""}) {
    CAPTURE(text);
    CHECK(told(text)->lifetime == seconds(1));
  }
  CHECK_FALSE(told("null")->lifetime);
  // No time ahead, or no number: refused, as nothing says how long the token may be used.
  for (const char* text : {"0", "-1", "-1e99", "\"0\"", "\"1e99\"", "\"-5\"", "\"999999999999\"",
                           "\"\"", "true", "[]", "1e999"}) {
    CAPTURE(text);
    CHECK_FALSE(told(text));
  }
}

TEST_CASE("an answer that is no token is refused") {
  for (const char* body :
       {"", "no", "[]", "null", "{}", R"({"access_token":5})", R"({"access_token":""})",
        "{\"access_token\":\"a\\nb\"}", R"({"access_token":"a","expires_in":-1})",
        R"({"access_token":"a","expires_in":0})", R"({"access_token":"a","expires_in":"soon"})",
        R"({"access_token":"a","expires_in":{}})", R"({"access_token":"a","token_type":"mac"})",
        "{\"access_token\":\"a\",\"refresh_token\":\"x\\ny\"}", R"({"access_token":"a"} x)"}) {
    CAPTURE(body);
    CHECK_FALSE(Read(200, body));
  }
  CHECK_FALSE(Read(302, R"({"access_token":"a"})"));
  CHECK_FALSE(Read(201, R"({"access_token":"a"})"));
}

TEST_CASE("what the server says of an error is told, without what it repeats of our secrets") {
  const auto refused = Read(
      400,
      R"({"error":"invalid_client","error_description":"secret hunter2 is\nwrong","error_uri":"x"})");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() == "it answered 400: invalid_client: secret … is wrong");
  CHECK(Read(503, "<html>").error().message() == "it answered 503");
  CHECK(Read(200, R"({"error":"bad_verification_code"})").error().message() ==
        "it answered 200: bad_verification_code");
  CHECK(Read(400, R"({"error":")" + std::string(5000, 'x') + R"("})").error().message().size() <
        400);
}

TEST_CASE("an app's token has the claims that GitHub asks for, signed by its key") {
  const auto key = MakeRsaKey(2048);
  GitHubAppSource source;
  source.app_id = "12";
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  for (const auto& pem : {Pkcs1Pem(key.get()), Pkcs8Pem(key.get())}) {
    const auto jwt = SignRs256(GitHubAppClaims(source, now), pem);
    REQUIRE(jwt);
    const auto claims = VerifiedClaims(jwt->text, key.get());
    CHECK(claims == nlohmann::json{{"iat", 1'699'999'940}, {"exp", 1'700'000'540}, {"iss", "12"}});
  }
}

TEST_CASE("a key that can't sign is told, and not shown") {
  const auto small = MakeRsaKey(1024);
  const auto encrypted = MakeRsaKey(2048);
  const std::string curve =
      "-----BEGIN PRIVATE KEY-----\n"
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
      "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
      "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
      "-----END PRIVATE KEY-----\n";
  CHECK_THAT(SignRs256("{}", Pkcs1Pem(small.get())).error().message(), Contains("2048 bits"));
  CHECK_THAT(SignRs256("{}", curve).error().message(), Contains("not an RSA key"));
  CHECK_THAT(SignRs256("{}", Pkcs8Pem(encrypted.get(), EVP_aes_128_cbc())).error().message(),
             Contains("passphrase"));
  CHECK_THAT(SignRs256("{}", "hunter2").error().message(),
             Contains("not PEM") && !Contains("hunter2"));
  CHECK_FALSE(SignRs256("{}", ""));
}

TEST_CASE("an installation's token is asked for with what it is narrowed to") {
  GitHubAppSource source;
  source.base_url = *HttpUrl::Parse("https://ghe.test/api/v3");
  source.installation_id = "34";
  auto request = InstallationTokenRequest(source, "j.w.t");
  CHECK(request.url.ToString() == "https://ghe.test/api/v3/app/installations/34/access_tokens");
  CHECK(*request.headers.Find("authorization") == "Bearer j.w.t");
  CHECK(request.body.text == "{}");
  source.repositories = {"one", "two"};
  source.permissions = {{"contents", "read"}};
  request = InstallationTokenRequest(source, "j.w.t");
  CHECK(nlohmann::json::parse(request.body.text) ==
        nlohmann::json{{"repositories", {"one", "two"}}, {"permissions", {{"contents", "read"}}}});
}

TEST_CASE("an installation's token lives by the server's clock") {
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);  // 2023-11-14T22:13:20Z
  const std::string body =
      R"({"token":"ghs_x","expires_at":"2023-11-14T23:13:20Z","permissions":{}})";
  const auto token = ReadInstallationToken(Answer(201, body), now);
  REQUIRE(token);
  CHECK(token->value.text == "ghs_x");
  CHECK(token->lifetime == std::chrono::hours(1));
  HttpAnswer dated = Answer(201, body);
  dated.headers.Add("Date", "Tue, 14 Nov 2023 23:03:20 GMT");
  CHECK(ReadInstallationToken(dated, now)->lifetime == std::chrono::minutes(10));
  dated.headers.Set("Date", "yesterday");
  CHECK(ReadInstallationToken(dated, now)->lifetime == std::chrono::hours(1));
}

TEST_CASE("an installation's token that never ends, or ended long ago, is taken for what it is") {
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  const auto token = ReadInstallationToken(
      Answer(201, R"({"token":"x","expires_at":"9999-12-31T23:59:59Z"})"), now);
  REQUIRE(token);
  CHECK(token->lifetime == std::chrono::hours(365 * 24));
  CHECK_FALSE(ReadInstallationToken(
      Answer(201, R"({"token":"x","expires_at":"0001-01-01T00:00:00Z"})"), now));
  HttpAnswer dated = Answer(201, R"({"token":"x","expires_at":"2023-11-14T23:13:20Z"})");
  dated.headers.Add("Date", "Tue, 14 Nov 9999 23:03:20 GMT");
  CHECK_FALSE(ReadInstallationToken(dated, now));
}

TEST_CASE("an answer that is no installation's token is refused with GitHub's words") {
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  CHECK(ReadInstallationToken(Answer(404, R"({"message":"Not Found"})"), now).error().message() ==
        "it answered 404: Not Found");
  for (const char* body : {"", "{}", R"({"token":"x"})", R"({"token":"x","expires_at":"later"})",
                           R"({"token":"x","expires_at":"2023-11-14T22:13:20Z"})",
                           R"({"token":"","expires_at":"2030-01-01T00:00:00Z"})"}) {
    CAPTURE(body);
    CHECK_FALSE(ReadInstallationToken(Answer(201, body), now));
  }
  CHECK_FALSE(ReadInstallationToken(
      Answer(200, R"({"token":"x","expires_at":"2030-01-01T00:00:00Z"})"), now));
}

}  // namespace
}  // namespace sallyport::runtime
