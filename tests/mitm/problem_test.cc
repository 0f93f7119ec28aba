#include "mitm/problem.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace sallyport::mitm {
namespace {

TEST_CASE("a refusal is a problem document with everything a reader needs") {
  const secrets::Store secrets;
  const LocalAnswer answer = MakeProblem({.reason = Reason::kDeniedByRule,
                                          .status = 403,
                                          .detail = "this agent only reads",
                                          .rule = "policy.lua:12",
                                          .how_to_allow = "add \"POST\" to `method`"},
                                         42, secrets);
  CHECK(answer.head.status == 403);
  CHECK(answer.head.reason == "Forbidden");
  CHECK(*answer.head.headers.Find("content-type") == "application/problem+json");
  CHECK(*answer.head.headers.Find("cache-control") == "no-store");
  const auto problem = nlohmann::json::parse(answer.body);
  CHECK(problem["type"] == "urn:sallyport:denied_by_rule");
  CHECK(problem["status"] == 403);
  CHECK(problem["detail"] == "this agent only reads");
  CHECK(problem["rule"] == "policy.lua:12");
  CHECK(problem["flow"] == 42);
  CHECK(problem["how_to_allow"] == "add \"POST\" to `method`");
}

TEST_CASE("a problem is JSON whatever bytes a detail quotes") {
  const secrets::Store secrets;
  const LocalAnswer answer = MakeProblem({.reason = Reason::kHostMismatch,
                                          .status = 421,
                                          .detail = std::string("a\"b\\c\n\xff\xc3(\0d", 11),
                                          .rule = {},
                                          .how_to_allow = {}},
                                         1, secrets);
  const auto problem = nlohmann::json::parse(answer.body);
  CHECK(problem["type"] == "urn:sallyport:host_mismatch");
  CHECK_FALSE(problem.contains("rule"));
  CHECK_FALSE(problem.contains("how_to_allow"));
}

TEST_CASE("every reason has a title") {
  const secrets::Store secrets;
  for (int i = 0; i <= static_cast<int>(Reason::kAuditUnavailable); ++i) {
    const auto reason = static_cast<Reason>(i);
    const LocalAnswer answer =
        MakeProblem({.reason = reason, .status = 403, .detail = {}, .rule = {}, .how_to_allow = {}},
                    1, secrets);
    CHECK_FALSE(nlohmann::json::parse(answer.body)["title"].get<std::string>().empty());
  }
}

}  // namespace
}  // namespace sallyport::mitm
