#include "secrets/store.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "secrets/basic_auth.h"
#include "store_fixture.h"

namespace sallyport::secrets {
namespace {

TEST_CASE("a placeholder in a credential header becomes its value at its host") {
  const auto store = StoreOf(GithubSpec());
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  for (const auto& [name, form] :
       std::vector<std::pair<std::string, std::string>>{{"Authorization", "Bearer "},
                                                        {"authorization", "token "},
                                                        {"X-Api-Key", ""},
                                                        {"private-token", ""},
                                                        {"x-goog-api-key", ""}}) {
    CAPTURE(name);
    RequestHead head = Get({{"accept", "*/*"}, {name, form + placeholder}});
    const Examination examination = Pass(*store, To("api.github.com"), head);
    CHECK(Refused(examination) == Reason::kAllowed);
    CHECK(examination.used == Names{"GITHUB_TOKEN"});
    CHECK(examination.inert.empty());
    CHECK(*head.headers.Find(name) == form + kGithubValue);
    CHECK(*head.headers.Find("accept") == "*/*");
  }
}

TEST_CASE("Basic credentials are decoded, replaced and encoded again") {
  const auto store = StoreOf(GithubSpec());
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  for (const auto& [user, password] : std::vector<std::pair<std::string, std::string>>{
           {"x-access-token:", ""}, {"", ":x-oauth-basic"}, {"", ":"}, {"", ""}}) {
    for (const char* name : {"authorization", "proxy-authorization"}) {
      RequestHead head = Get({{name, EncodeBasic(user + placeholder + password)}});
      const Examination examination = Pass(*store, To("api.github.com"), head);
      CHECK(Refused(examination) == Reason::kAllowed);
      CHECK(*head.headers.Find(name) == EncodeBasic(user + kGithubValue + password));
    }
  }
}

TEST_CASE(
    "Basic credentials are replaced in every spelling that servers take, and sent in the usual "
    "one") {
  const auto store = StoreOf(GithubSpec());
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  for (const char* user : {"me", "you", "them", "\xfb\xff~?"}) {
    const std::string usual = EncodeBasic(user + (":" + placeholder));
    const std::string text = usual.substr(6);
    std::string bare = text;
    while (bare.ends_with('=')) bare.pop_back();
    std::string url_safe = bare;
    std::replace(url_safe.begin(), url_safe.end(), '+', '-');
    std::replace(url_safe.begin(), url_safe.end(), '/', '_');
    for (const std::string& sent :
         {"basic " + text, "BASIC\t" + bare, "  Basic   " + text + "==  ", "Basic " + url_safe,
          "Basic " + text.substr(0, 9) + " \t" + text.substr(9)}) {
      CAPTURE(sent);
      RequestHead head = Get({{"authorization", sent}});
      const Examination examination = Pass(*store, To("api.github.com"), head);
      CHECK(Refused(examination) == Reason::kAllowed);
      CHECK(*head.headers.Find("authorization") == EncodeBasic(user + (":" + kGithubValue)));
    }
  }
}

TEST_CASE("a Basic value that is a placeholder as it stands is replaced as it stands") {
  Store store;
  REQUIRE(store.Add(Spec("NPM_AUTH", {"registry.example"}), Value("dXNlcjpwYXNzd29yZA==")));
  RequestHead head = Get({{"authorization", "Basic " + *store.PlaceholderOf("NPM_AUTH")}});
  CHECK(Refused(Pass(store, To("registry.example"), head)) == Reason::kAllowed);
  CHECK(*head.headers.Find("authorization") == "Basic dXNlcjpwYXNzd29yZA==");
}

TEST_CASE("a form may hold user and password in one placeholder") {
  Store store;
  SecretSpec spec = Spec("LOGIN", {"registry.example"});
  spec.placeholder = "user:{random}";
  REQUIRE(store.Add(std::move(spec), Value("somebody:password")));
  RequestHead head = Get({{"authorization", EncodeBasic(*store.PlaceholderOf("LOGIN"))}});
  CHECK(Refused(Pass(store, To("registry.example"), head)) == Reason::kAllowed);
  CHECK(*head.headers.Find("authorization") == EncodeBasic("somebody:password"));
}

TEST_CASE(
    "a placeholder towards another host is refused, and the guest is told who may receive it") {
  const auto store = StoreOf(GithubSpec());
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  for (const std::string& value :
       {"Bearer " + placeholder, EncodeBasic("u:" + placeholder), "a b c " + placeholder + " d"}) {
    RequestHead head = Get({{"authorization", value}});
    const Examination examination = Pass(*store, To("evil.test"), head);
    REQUIRE(Refused(examination) == Reason::kSecretWrongHost);
    const Refusal& refusal = *examination.refusal;
    CHECK(refusal.status == 403);
    CHECK(refusal.rule == "policy.lua:7");
    CHECK(refusal.detail.find("api.github.com, *.example.com") != std::string::npos);
    CHECK(refusal.how_to_allow.find("evil.test") != std::string::npos);
    CHECK_FALSE(examination.terminate);
    CHECK(examination.used.empty());
  }
}

TEST_CASE("elsewhere than in a credential header a placeholder stays as it is") {
  const auto store = StoreOf(GithubSpec());
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  for (const char* host : {"api.github.com", "evil.test"}) {
    RequestHead head = Get({{"x-note", placeholder}, {placeholder, "x"}});
    head.path = "/user/" + placeholder;
    head.query = "key=" + placeholder;
    const std::string before = Bytes(head);
    const Examination examination = Pass(*store, To(host), head);
    CHECK(Refused(examination) == Reason::kAllowed);
    CHECK(examination.inert == Names{"GITHUB_TOKEN"});
    CHECK(examination.used.empty());
    CHECK(Bytes(head) == before);
  }
}

TEST_CASE("on_violation decides what a placeholder in a wrong place does") {
  using OnViolation = SecretSpec::OnViolation;
  for (const OnViolation asked :
       {OnViolation::kBlock, OnViolation::kPass, OnViolation::kTerminate}) {
    SecretSpec spec = GithubSpec();
    spec.on_violation = asked;
    const auto store = StoreOf(std::move(spec));
    const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
    RequestHead in_query = Get();
    in_query.query = placeholder;
    RequestHead in_credential = Get({{"authorization", "Bearer " + placeholder}});
    for (const auto& [head, host, reason] :
         std::vector<std::tuple<RequestHead, std::string, Reason>>{
             {in_query, "api.github.com", Reason::kSecretWrongPlace},
             {in_query, "evil.test", Reason::kSecretWrongHost},
             {in_credential, "evil.test", Reason::kSecretWrongHost}}) {
      RequestHead copy = head;
      const Examination examination = Pass(*store, To(host), copy);
      CHECK(Refused(examination) == (asked == OnViolation::kPass ? Reason::kAllowed : reason));
      CHECK(examination.terminate == (asked == OnViolation::kTerminate));
      CHECK(examination.inert.empty() == (asked != OnViolation::kPass));
      CHECK(Bytes(copy) == Bytes(head));
    }
  }
}

TEST_CASE("a list of headers replaces the default places") {
  SecretSpec spec = GithubSpec();
  spec.headers = {{"X-Custom"}};
  const auto store = StoreOf(std::move(spec));
  const std::string& placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  RequestHead listed = Get({{"x-custom", "k=" + placeholder}});
  CHECK(Refused(Pass(*store, To("api.github.com"), listed)) == Reason::kAllowed);
  CHECK(*listed.headers.Find("x-custom") == "k=" + kGithubValue);
  RequestHead unlisted = Get({{"authorization", "Bearer " + placeholder}});
  const Examination examination = Pass(*store, To("api.github.com"), unlisted);
  CHECK(Refused(examination) == Reason::kSecretWrongPlace);
  CHECK(examination.refusal->detail.find("X-Custom") != std::string::npos);
  RequestHead elsewhere = Get({{"x-custom", placeholder}});
  CHECK(Refused(Pass(*store, To("evil.test"), elsewhere)) == Reason::kSecretWrongHost);
}

TEST_CASE("methods, paths and ports narrow a secret") {
  SecretSpec spec = GithubSpec();
  spec.methods = {"GET", "HEAD"};
  spec.paths = {"/user", "/repos/**"};
  spec.ports = {443, 8443};
  const auto store = StoreOf(std::move(spec));
  const std::string value = "Bearer " + *store->PlaceholderOf("GITHUB_TOKEN");
  const auto refused = [&](std::string method, std::string path, uint16_t port) {
    RequestHead head = Get({{"authorization", value}});
    head.method = std::move(method);
    head.path = std::move(path);
    return Refused(Pass(*store, To("api.github.com", port), head));
  };
  CHECK(refused("GET", "/user", 443) == Reason::kAllowed);
  CHECK(refused("HEAD", "/repos/a/b", 8443) == Reason::kAllowed);
  CHECK(refused("POST", "/user", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("get", "/user", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("GET", "/admin", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("GET", "/repos/../admin", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("GET", "/repos/%2e%2e/admin", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("GET", "/admin/../user", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("GET", "/repos/%zz", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("OPTIONS", "*", 443) == Reason::kSecretWrongPlace);
  CHECK(refused("GET", "/user", 8080) == Reason::kSecretWrongPlace);
}

TEST_CASE("a secret goes over an unencrypted connection only where its declaration says so") {
  for (const bool plaintext : {false, true}) {
    SecretSpec spec = GithubSpec();
    spec.plaintext = plaintext;
    const auto store = StoreOf(std::move(spec));
    RequestHead head = Get({{"x-api-key", *store->PlaceholderOf("GITHUB_TOKEN")}});
    const Examination examination = Pass(*store, To("api.github.com", 80), head);
    CHECK(Refused(examination) == (plaintext ? Reason::kAllowed : Reason::kSecretWrongPlace));
    CHECK((*head.headers.Find("x-api-key") == kGithubValue) == plaintext);
  }
}

TEST_CASE("a literal address never receives a secret") {
  SecretSpec spec = GithubSpec();
  spec.plaintext = true;
  spec.inject = {{"x-injected", "{}"}};
  const auto store = StoreOf(std::move(spec));
  RequestHead head = Get({{"x-api-key", *store->PlaceholderOf("GITHUB_TOKEN")}});
  const RequestTarget target{std::nullopt, 443, true};
  CHECK(Refused(Pass(*store, target, head)) == Reason::kSecretWrongHost);
  RequestHead empty = Get();
  CHECK(Refused(Pass(*store, target, empty)) == Reason::kAllowed);
  CHECK(empty.headers.fields().empty());
}

TEST_CASE("a wildcard is every name below it, up to the next public suffix") {
  const auto store = StoreOf(Spec("AWS", {"*.amazonaws.com", "*.example.com"}));
  CHECK(store->Binds(Name("a.example.com")));
  CHECK(store->Binds(Name("a.b.example.com")));
  CHECK_FALSE(store->Binds(Name("example.com")));
  CHECK_FALSE(store->Binds(Name("notexample.com")));
  CHECK(store->Binds(Name("iam.amazonaws.com")));
  CHECK_FALSE(store->Binds(Name("anybodys.s3.amazonaws.com")));
}

}  // namespace
}  // namespace sallyport::secrets
