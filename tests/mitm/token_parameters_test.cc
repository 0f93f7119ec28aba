#include "mitm/token_parameters.h"

#include <catch2/catch.hpp>

#include "secrets/basic_auth.h"

namespace sallyport::mitm {
namespace {

constexpr const char* kForm = "application/x-www-form-urlencoded";

Headers Fields(const std::string& type, const std::string& authorization = "") {
  Headers headers;
  if (!type.empty()) headers.Add("content-type", type);
  if (!authorization.empty()) headers.Add("authorization", authorization);
  return headers;
}

TEST_CASE("a form is read, with what its escapes stand for") {
  const auto read = ReadTokenParameters(
      Fields(std::string(kForm) + "; charset=UTF-8"),
      "grant_type=client_credentials&scope=read+write%20%20x&client_id=m%65&client_secret=a%26b"
      "&other=1&other=2");
  REQUIRE(read);
  CHECK(read->grant_type == "client_credentials");
  CHECK(read->scopes == std::vector<std::string>{"read", "write", "x"});
  CHECK(read->client_ids == std::vector<std::vector<std::string>>{{"me"}});
  CHECK(read->credentials == std::vector<std::string>{"me", "a&b"});
}

TEST_CASE("JSON is read like a form, as some clients send it") {
  const auto read = ReadTokenParameters(
      Fields("application/json"),
      R"({"grant_type":"refresh_token","refresh_token":"r","client_id":null,"audience":["x"]})");
  REQUIRE(read);
  CHECK(read->grant_type == "refresh_token");
  CHECK(read->client_ids.empty());
  CHECK(read->credentials == std::vector<std::string>{"r"});
}

TEST_CASE("the user of Basic is a client id, encoded or not") {
  const auto read = ReadTokenParameters(Fields(kForm, secrets::EncodeBasic("m%3Ae:s+s:t")),
                                        "grant_type=client_credentials");
  REQUIRE(read);
  CHECK(read->client_ids == std::vector<std::vector<std::string>>{{"m:e", "m%3Ae"}});
  CHECK(read->credentials == std::vector<std::string>{"m:e", "m%3Ae", "s s:t", "s+s:t"});
  const auto alone = ReadTokenParameters(Fields(kForm, secrets::EncodeBasic("me")),
                                         "grant_type=client_credentials");
  CHECK(alone->client_ids == std::vector<std::vector<std::string>>{{"me"}});
}

TEST_CASE("what can't be read as a call of a token endpoint is told apart, and not repeated") {
  for (const auto& [type, body, why] : std::vector<std::array<std::string, 3>>{
           {kForm, "", "no grant_type"},
           {kForm, "grant_type", ""},
           {kForm, "grant_type=a&grant_type=b", "repeated"},
           {kForm, "grant_type=%4", "percent-encoding"},
           {kForm, "grant_type=a&x=%zz", "percent-encoding"},
           {"", "grant_type=a", "is not application/x-www-form-urlencoded"},
           {"text/plain", "grant_type=a", "is not application/x-www-form-urlencoded"},
           {"application/json", "", "not a JSON object"},
           {"application/json", "[]", "not a JSON object"},
           {"application/json", R"({"grant_type":5})", "not a string"},
           {"application/json", std::string(60'000, '['), "not a JSON object"}}) {
    CAPTURE(type, body.substr(0, 40));
    const auto read = ReadTokenParameters(Fields(type), body);
    if (why.empty()) {  // A name without a value is an empty one.
      REQUIRE(read);
      CHECK(read->grant_type.empty());
      continue;
    }
    REQUIRE_FALSE(read);
    CHECK(read.error().message().find(why) != std::string::npos);
  }
  Headers coded = Fields(kForm);
  coded.Add("content-encoding", "gzip");
  CHECK_FALSE(ReadTokenParameters(coded, "grant_type=client_credentials"));
}

TEST_CASE("what is asked of an installation's token is read, and nothing is a body, too") {
  const auto read = ReadInstallationParameters(
      Fields("application/json", "bearer j.w.t"),
      R"({"repositories":["two","one",5],"permissions":{"issues":"read","contents":"write","x":1}})");
  REQUIRE(read);
  CHECK(read->bearer == "j.w.t");
  CHECK(read->repositories == std::vector<std::string>{"one", "two"});
  CHECK(read->permissions == std::vector<std::pair<std::string, std::string>>{{"contents", "write"},
                                                                              {"issues", "read"}});
  REQUIRE(ReadInstallationParameters(Fields(""), " \r\n"));
  CHECK(ReadInstallationParameters(Fields("", "Basic eDp5"), "")->bearer.empty());
  CHECK_FALSE(ReadInstallationParameters(Fields(""), "[]"));
  // Nested as deeply as a body can be.
  const std::string deep =
      R"({"repositories":)" + std::string(30'000, '[') + std::string(30'000, ']') + "}";
  REQUIRE(ReadInstallationParameters(Fields(""), deep));
}

}  // namespace
}  // namespace sallyport::mitm
