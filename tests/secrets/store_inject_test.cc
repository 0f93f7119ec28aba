#include "secrets/store.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "secrets/basic_auth.h"
#include "store_fixture.h"

namespace sallyport::secrets {
namespace {

TEST_CASE("an injected header is set whatever the guest sent in it") {
  SecretSpec spec = GithubSpec();
  spec.inject = {{"Authorization", "Bearer {}"}, {"x-second", "{}"}};
  spec.expose = false;
  spec.paths = {"/user"};
  const auto store = StoreOf(std::move(spec));
  CHECK(store->GuestEnvironment().empty());
  const std::string placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  for (const std::vector<HeaderField>& fields : std::vector<std::vector<HeaderField>>{
           {},
           {{"authorization", "Bearer the-guests-own-key-0123456789"}},
           {{"authorization", "one"}, {"accept", "*/*"}, {"AUTHORIZATION", placeholder}}}) {
    RequestHead head = Get(fields);
    const Examination examination = Pass(*store, To("api.github.com"), head);
    CHECK(Refused(examination) == Reason::kAllowed);
    CHECK(examination.used == Names{"GITHUB_TOKEN"});
    CHECK(head.headers.Count("authorization") == 1);
    CHECK(*head.headers.Find("authorization") == "Bearer " + kGithubValue);
    CHECK(*head.headers.Find("x-second") == kGithubValue);
  }
  RequestHead other_spelling = Get({{"X_Second", "the-guests-own"}, {"x-SECOND", "and more"}});
  CHECK(Refused(Pass(*store, To("api.github.com"), other_spelling)) == Reason::kAllowed);
  CHECK(other_spelling.headers.Count("x-second") == 1);
  CHECK(other_spelling.headers.Count("x_second") == 0);
  RequestHead elsewhere = Get();
  elsewhere.path = "/other";
  CHECK(Pass(*store, To("api.github.com"), elsewhere).used.empty());
  CHECK(elsewhere.headers.fields().empty());
  RequestHead unencrypted = Get();
  CHECK(Pass(*store, To("api.github.com", 80), unencrypted).used.empty());
  CHECK(unencrypted.headers.fields().empty());
  RequestHead other_host = Get();
  CHECK(Pass(*store, To("evil.test"), other_host).used.empty());
  CHECK(other_host.headers.fields().empty());
}

TEST_CASE("two secrets that would set one header of one request are refused") {
  Store store;
  SecretSpec first = Spec("FIRST", {"*.example.com"});
  first.inject = {{"authorization", "Bearer {}"}};
  first.methods = {"GET"};
  REQUIRE(store.Add(first, Value(kGithubValue)));
  SecretSpec second = Spec("SECOND", {"api.example.com"});
  second.inject = {{"Authorization", "token {}"}};
  const Status conflict = store.Add(second, Value(kOtherValue));
  REQUIRE_FALSE(conflict);
  CHECK(conflict.error().code() == Code::kInvalid);
  CHECK(conflict.error().message().find("FIRST") != std::string::npos);
  second.methods = {"POST"};
  CHECK(store.Add(second, Value(kOtherValue)));
}

TEST_CASE("several secrets are put into one value and one request") {
  Store store;
  REQUIRE(store.Add(Spec("KEY", {"api.example.com"}), Value(kGithubValue)));
  REQUIRE(store.Add(Spec("SECRET", {"api.example.com"}), Value(kOtherValue)));
  REQUIRE(store.Add(Spec("ELSEWHERE", {"other.example.com"}), Value("a third value")));
  const std::string key = *store.PlaceholderOf("KEY");
  const std::string secret = *store.PlaceholderOf("SECRET");
  RequestHead head = Get({{"authorization", "Discogs key=" + key + ", secret=" + secret},
                          {"proxy-authorization", EncodeBasic(key + ":" + secret)},
                          {"x-note", *store.PlaceholderOf("ELSEWHERE")}});
  const Examination examination = Pass(store, To("api.example.com"), head);
  CHECK(Refused(examination) == Reason::kAllowed);
  CHECK(examination.used == Names{"KEY", "SECRET"});
  CHECK(examination.inert == Names{"ELSEWHERE"});
  CHECK(*head.headers.Find("authorization") ==
        "Discogs key=" + kGithubValue + ", secret=" + kOtherValue);
  CHECK(*head.headers.Find("proxy-authorization") == EncodeBasic(kGithubValue + ":" + kOtherValue));
}

}  // namespace
}  // namespace sallyport::secrets
