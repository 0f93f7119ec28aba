#include "secrets/store.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "secrets/basic_auth.h"
#include "store_fixture.h"

namespace sallyport::secrets {
namespace {

TEST_CASE("a credential that is not ours does not reach a host with a secret") {
  for (const auto foreign :
       {SecretSpec::Foreign::kBlock, SecretSpec::Foreign::kStrip, SecretSpec::Foreign::kPass}) {
    SecretSpec spec = GithubSpec();
    spec.foreign = foreign;
    spec.headers = {{"authorization", "x-custom"}};
    const auto store = StoreOf(std::move(spec));
    const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
    for (const HeaderField& field : std::vector<HeaderField>{
             {"authorization", "Bearer attacker"},
             {"Authorization", EncodeBasic("attacker:password")},
             {"x-api-key", "attacker"},
             {"X_API_Key", "attacker"},
             {"x-custom", "attacker"},
             {"X_Custom", "attacker"},
             {"authorization", "Bearer attackers-key-0123456789 " + placeholder},
             {"authorization", EncodeBasic(placeholder + ":attackers-key")}}) {
      CAPTURE(field.name, field.value);
      RequestHead head = Get({{"accept", "*/*"}, field, {"x-last", "1"}});
      const Examination examination = Pass(*store, To("api.github.com"), head);
      if (foreign == SecretSpec::Foreign::kBlock) {
        REQUIRE(Refused(examination) == Reason::kForeignCredential);
        CHECK(examination.refusal->detail.find("GITHUB_TOKEN") != std::string::npos);
      } else {
        CHECK(Refused(examination) == Reason::kAllowed);
        CHECK(head.headers.Count(field.name) == (foreign == SecretSpec::Foreign::kPass ? 1 : 0));
        CHECK(head.headers.Count("x-last") == 1);
      }
      RequestHead elsewhere = Get({{"x-api-key", "its own"}});
      CHECK(Refused(Pass(*store, To("unbound.test"), elsewhere)) == Reason::kAllowed);
      CHECK(elsewhere.headers.Count("x-api-key") == 1);
    }
  }
}

TEST_CASE("each credential field is looked at for itself") {
  const auto store = StoreOf(GithubSpec());
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  RequestHead head = Get({{"x-api-key", placeholder}, {"authorization", "Bearer attacker"}});
  CHECK(Refused(Pass(*store, To("api.github.com"), head)) == Reason::kForeignCredential);
  RequestHead twice = Get({{"x-api-key", placeholder}, {"x-api-key", "attacker"}});
  CHECK(Refused(Pass(*store, To("api.github.com"), twice)) == Reason::kForeignCredential);
}

TEST_CASE("a query may carry no credential that is not ours to a host with a secret") {
  const std::string ours = "?";  // Stands for the placeholder.
  struct Case {
    std::string query;
    std::optional<std::string> stripped;  // None: nothing is foreign.
  };
  const Case cases[] = {
      {"access_token=attacker", ""},
      {"a=b&access_token=attacker&c=d", "a=b&c=d"},
      {"a=b&API-Key=attacker", "a=b"},
      {"a=b;ACCESS%5Ftoken=attacker", "a=b"},
      {"x_api_key=attacker&x-api-key=attacker&a=%20b", "a=%20b"},
      {"X-Amz-Credential=a%2Fb&X-Amz-Date=1&X-Amz-Signature=ab", "X-Amz-Date=1"},
      {"key=AIzaSyA0123456789abcdefghijklmnopqrstuv", ""},
      {"access_token=?attackers-key-0123456789", ""},
      {"access_token=?&private_token=attacker", "access_token=?"},
      {"access_token=?", {}},
      {"access_token=&api_key", {}},
      {"key=a&token=CAUQAA0123456789abcdef&q=access_token", {}},
      {"", {}},
  };
  for (const auto foreign :
       {SecretSpec::Foreign::kBlock, SecretSpec::Foreign::kStrip, SecretSpec::Foreign::kPass}) {
    SecretSpec spec = GithubSpec();
    spec.foreign = foreign;
    spec.query = true;
    const auto store = StoreOf(std::move(spec));
    const auto with = [&](std::string text, const std::string& what) {
      const size_t at = text.find(ours);
      return at == std::string::npos ? text : text.replace(at, 1, what);
    };
    for (const Case& one : cases) {
      CAPTURE(one.query);
      RequestHead head = Get();
      head.query = with(one.query, *store->PlaceholderOf("GITHUB_TOKEN"));
      const Examination examination = Pass(*store, To("api.github.com"), head);
      if (foreign == SecretSpec::Foreign::kBlock && one.stripped) {
        REQUIRE(Refused(examination) == Reason::kForeignCredential);
        CHECK(examination.refusal->detail.find("in its query") != std::string::npos);
        continue;
      }
      REQUIRE(Refused(examination) == Reason::kAllowed);
      const bool strips = foreign == SecretSpec::Foreign::kStrip && one.stripped;
      const std::string left = with(strips ? *one.stripped : one.query, kGithubValue);
      CHECK(head.query.value_or("") == left);
      if (strips && left.empty()) CHECK_FALSE(head.query);
    }
    RequestHead elsewhere = Get();
    elsewhere.query = "access_token=its-own";
    CHECK(Refused(Pass(*store, To("unbound.test"), elsewhere)) == Reason::kAllowed);
    CHECK(*elsewhere.query == "access_token=its-own");
  }
}

TEST_CASE("a request without a credential passes") {
  const auto store = StoreOf(GithubSpec());
  RequestHead head = Get({{"accept", "*/*"}, {"authorization", "Bearer "}, {"cookie", "a=b"}});
  const Examination examination = Pass(*store, To("api.github.com"), head);
  CHECK(Refused(examination) == Reason::kAllowed);
  CHECK(examination.used.empty());
}

TEST_CASE("of two secrets for one host the stricter decides about foreign credentials") {
  Store store;
  SecretSpec pass = Spec("PASS", {"api.example.com"});
  pass.foreign = SecretSpec::Foreign::kPass;
  SecretSpec strip = Spec("STRIP", {"*.example.com"});
  strip.foreign = SecretSpec::Foreign::kStrip;
  REQUIRE(store.Add(pass, Value(kGithubValue)));
  REQUIRE(store.Add(strip, Value(kOtherValue)));
  RequestHead head = Get({{"authorization", "Bearer x"}, {"x-api-key", "y"}});
  CHECK(Refused(Pass(store, To("api.example.com"), head)) == Reason::kAllowed);
  CHECK(head.headers.fields().empty());
}

}  // namespace
}  // namespace sallyport::secrets
