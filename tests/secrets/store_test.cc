#include "secrets/store.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "secrets/basic_auth.h"

namespace sallyport::secrets {
namespace {

const std::string kGithubValue = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";
const std::string kOtherValue = "another:value/with+signs==";

HostName Name(std::string_view text) {
  Result<HostName> name = HostName::Parse(text);
  REQUIRE(name);
  return *std::move(name);
}

SecretSpec Spec(std::string name, const std::vector<std::string>& hosts) {
  SecretSpec spec;
  spec.name = std::move(name);
  spec.declared_at = "policy.lua:7";
  for (const std::string& host : hosts) {
    Result<HostPattern> pattern = HostPattern::Parse(host);
    REQUIRE(pattern);
    spec.hosts.push_back(*std::move(pattern));
  }
  return spec;
}

SecretSpec GithubSpec() {
  return Spec("GITHUB_TOKEN", {"api.github.com", "*.example.com"});
}

Secret Value(std::string_view value) {
  Result<Secret> secret = Secret::Create(value);
  REQUIRE(secret);
  return *std::move(secret);
}

// A store with one secret, of kGithubValue.
std::unique_ptr<Store> StoreOf(SecretSpec spec) {
  auto store = std::make_unique<Store>();
  REQUIRE(store->Add(std::move(spec), Value(kGithubValue)));
  return store;
}

RequestTarget To(std::string_view host, uint16_t port = 443) {
  return {Name(host), port, port != 80};
}

RequestHead Get(std::vector<HeaderField> fields = {}) {
  RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.authority = "api.github.com";
  head.path = "/user";
  head.headers.fields() = std::move(fields);
  return head;
}

// Every byte that leaves, and every word that is told.
std::string Bytes(const RequestHead& head) {
  std::string bytes = head.method + head.authority + head.Target();
  for (const HeaderField& field : head.headers.fields()) bytes += field.name + field.value;
  return bytes;
}

std::string Words(const Examination& examination) {
  std::string words;
  for (const std::string& name : examination.used) words += name;
  for (const std::string& name : examination.inert) words += name;
  if (examination.refusal) {
    words +=
        examination.refusal->detail + examination.refusal->rule + examination.refusal->how_to_allow;
  }
  return words;
}

// Examines HEAD for TARGET and, where it may go, puts the values in. Whatever is refused must not
// change, and nothing that is told may have a value in it.
Examination Pass(const Store& store, const RequestTarget& target, RequestHead& head) {
  const std::string before = Bytes(head);
  Examination examination = store.Examine(target, head);
  REQUIRE(Bytes(head) == before);
  store.Substitute(target, head);
  if (examination.refusal) REQUIRE(Bytes(head) == before);
  REQUIRE(Words(examination).find(kGithubValue) == std::string::npos);
  REQUIRE(Words(examination).find(kOtherValue) == std::string::npos);
  return examination;
}

Reason Refused(const Examination& examination) {
  return examination.refusal ? examination.refusal->reason : Reason::kAllowed;
}

using Names = std::vector<std::string>;

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

TEST_CASE("a secret without a value has a placeholder, and its use is refused with the why") {
  Store store;
  SecretSpec injected = Spec("INJECTED", {"injected.example"});
  injected.inject = {{"authorization", "Bearer {}"}};
  REQUIRE(
      store.AddUnavailable(Spec("MISSING", {"api.example.com"}), "variable MISSING is not set"));
  REQUIRE(store.AddUnavailable(std::move(injected), "the file is not readable"));
  REQUIRE(store.PlaceholderOf("MISSING"));
  CHECK(store.GuestEnvironment().size() == 2);
  RequestHead head = Get({{"x-api-key", *store.PlaceholderOf("MISSING")}});
  const Examination examination = Pass(store, To("api.example.com"), head);
  REQUIRE(Refused(examination) == Reason::kSecretUnavailable);
  CHECK(examination.refusal->detail.find("variable MISSING is not set") != std::string::npos);
  RequestHead empty = Get();
  CHECK(Refused(Pass(store, To("injected.example"), empty)) == Reason::kSecretUnavailable);
  CHECK(Refused(Pass(store, To("api.example.com"), empty)) == Reason::kAllowed);
}

TEST_CASE("declarations that can't hold are refused with what to write instead") {
  const auto refused = [](const std::function<void(SecretSpec&)>& change,
                          std::string_view value = kGithubValue) {
    Store store;
    SecretSpec spec = GithubSpec();
    change(spec);
    const Status added = store.Add(std::move(spec), Value(value));
    REQUIRE_FALSE(added);
    CHECK(added.error().code() == Code::kInvalid);
    CHECK(added.error().message().find(value) == std::string::npos);
    CHECK(store.empty());
    return added.error().message();
  };
  const auto as_it_is = [](SecretSpec&) {};
  CHECK(refused([](auto& s) { s.name = "no-name"; }).find("variable") != std::string::npos);
  CHECK(refused([](auto& s) { s.hosts.clear(); }).find("hosts = {") != std::string::npos);
  refused([](auto& s) { s.hosts = {HostPattern::Any()}; });
  refused([](auto& s) { s.hosts = {*HostPattern::Parse("*.co.uk")}; });
  refused([](auto& s) { s.headers = {{"bad name"}}; });
  refused([](auto& s) { s.headers = {{"Transfer-Encoding"}}; });
  refused([](auto& s) { s.inject = {{"host", "{}"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "no slot"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "{}{}"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "a\r\nb: {}"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "{}"}, {"X-Key", "{}"}}; });
  refused([](auto& s) { s.methods = {"G E T"}; });
  refused([](auto& s) { s.paths = {"no/slash"}; });
  refused([](auto& s) { s.ports = {0}; });
  CHECK(refused([](auto& s) { s.placeholder = "fixed"; }).find("{random}") != std::string::npos);
  refused([](auto& s) { s.placeholder = kGithubValue + "{random}"; });
  refused(as_it_is, "7 bytes");
  refused(as_it_is, "a control \x01 character");
  refused(as_it_is, "a tab \t in it");
  refused(as_it_is, " begins with a space");
  refused(as_it_is, "ends with a space ");
}

TEST_CASE("a name is declared once") {
  const auto store = StoreOf(GithubSpec());
  const std::string before = *store->PlaceholderOf("GITHUB_TOKEN");
  CHECK_FALSE(store->Add(GithubSpec(), Value(kOtherValue)));
  CHECK_FALSE(store->AddUnavailable(GithubSpec(), "why"));
  CHECK(*store->PlaceholderOf("GITHUB_TOKEN") == before);
  CHECK(store->GuestEnvironment().size() == 1);
}

TEST_CASE("placeholders share an anchor, and each sandbox has its own") {
  Store one;
  Store two;
  for (Store* store : {&one, &two}) {
    REQUIRE(store->Add(Spec("A", {"a.example"}), Value("password-a")));
    REQUIRE(store->Add(Spec("B", {"b.example"}), Value("password-b")));
  }
  const auto anchor = [](const Store& store, const char* name) {
    return store.PlaceholderOf(name)->substr(0, 8);
  };
  CHECK(anchor(one, "A") == anchor(one, "B"));
  CHECK(anchor(one, "A") != anchor(two, "A"));  // Equal once in 10^8 runs.
  CHECK(*one.PlaceholderOf("A") != *one.PlaceholderOf("B"));
  CHECK(one.PlaceholderOf("C") == nullptr);
}

TEST_CASE("the guest's environment has placeholders by name, and no value") {
  const auto store = StoreOf(GithubSpec());
  const auto variables = store->GuestEnvironment();
  REQUIRE(variables.size() == 1);
  CHECK(variables[0].first == "GITHUB_TOKEN");
  CHECK(variables[0].second == *store->PlaceholderOf("GITHUB_TOKEN"));
  CHECK(variables[0].second.find(kGithubValue.substr(4, 8)) == std::string::npos);
}

TEST_CASE("redaction replaces every value by its placeholder, the longest first") {
  Store store;
  REQUIRE(store.Add(Spec("SHORT", {"a.example"}), Value("password")));
  REQUIRE(store.Add(Spec("LONG", {"a.example"}), Value("password-and-more")));
  const std::string& a = *store.PlaceholderOf("SHORT");
  const std::string& b = *store.PlaceholderOf("LONG");
  CHECK(store.Redact("x password password-and-more passwordpassword y passwor") ==
        "x " + a + " " + b + " " + a + a + " y passwor");
  CHECK(store.Redact("") == "");
  CHECK(Store().Redact("password") == "password");
}

TEST_CASE("an empty store examines nothing and changes nothing") {
  const Store store;
  RequestHead head = Get({{"authorization", "Bearer x"}});
  CHECK(store.empty());
  CHECK_FALSE(store.Binds(Name("api.github.com")));
  const Examination examination = Pass(store, To("api.github.com"), head);
  CHECK(Refused(examination) == Reason::kAllowed);
  CHECK(*head.headers.Find("authorization") == "Bearer x");
}

TEST_CASE("wiping a head leaves no value in its memory") {
  const auto store = StoreOf(GithubSpec());
  RequestHead head = Get({{"x-api-key", *store->PlaceholderOf("GITHUB_TOKEN")}});
  Pass(*store, To("api.github.com"), head);
  std::string& value = head.headers.fields()[0].value;
  REQUIRE(value == kGithubValue);
  const char* bytes = value.data();
  WipeHead(head);
  CHECK(value.empty());
  value.resize(kGithubValue.size());  // Within the capacity: the same bytes.
  REQUIRE(value.data() == bytes);
  CHECK(value == std::string(kGithubValue.size(), '\0'));
}

TEST_CASE("a value short enough for a string's own bytes is moved on the heap as well") {
  Store store;
  REQUIRE(store.Add(Spec("PIN", {"api.example.com"}), Value("12345678")));
  RequestHead head = Get({{"x-api-key", *store.PlaceholderOf("PIN")},
                          {"authorization", EncodeBasic(*store.PlaceholderOf("PIN") + ":")}});
  Pass(store, To("api.example.com"), head);
  for (const HeaderField& field : head.headers.fields()) {
    const auto* object = reinterpret_cast<const char*>(&field.value);
    const char* data = field.value.data();
    CHECK_FALSE((data >= object && data < object + sizeof field.value));
  }
}

// ---- A policy that was loaded anew.

std::vector<SecretSpec> Specs(SecretSpec one) {
  std::vector<SecretSpec> specs;
  specs.push_back(std::move(one));
  return specs;
}

/// Whether REQUEST with the placeholder of NAME may go to HOST.
std::optional<Reason> RefusedAt(const Store& store, const std::string& name, std::string_view host) {
  const auto head = Get({{"authorization", "Bearer " + *store.PlaceholderOf(name)}});
  const auto refusal = store.Examine(To(host), head).refusal;
  return refusal ? std::optional(refusal->reason) : std::nullopt;
}

TEST_CASE("a secret that is declared again keeps placeholder and value, with its new hosts") {
  const auto store = StoreOf(GithubSpec());
  const std::string placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  REQUIRE(store->Redeclare(Specs(Spec("GITHUB_TOKEN", {"other.example"})), {}));
  CHECK(*store->PlaceholderOf("GITHUB_TOKEN") == placeholder);
  CHECK_FALSE(RefusedAt(*store, "GITHUB_TOKEN", "other.example"));
  CHECK(RefusedAt(*store, "GITHUB_TOKEN", "api.github.com") == Reason::kSecretWrongHost);
  CHECK_FALSE(store->Binds(Name("api.github.com")));
}

TEST_CASE("a secret that is not declared any more is revoked and binds no host, but can come back") {
  SecretSpec injecting = GithubSpec();
  injecting.inject = {{"authorization", "Bearer {}"}};
  const auto store = StoreOf(injecting);
  SecretSpec next = Spec("NEXT", {"api.github.com"});
  next.inject = injecting.inject;
  std::map<std::string, Secret> values;
  values.emplace("NEXT", Value(kOtherValue + "next"));
  REQUIRE(store->Redeclare(Specs(next), std::move(values)));
  CHECK_FALSE(store->Binds(Name("www.example.com")));
  CHECK(RefusedAt(*store, "GITHUB_TOKEN", "www.example.com") == Reason::kSecretUnavailable);
  CHECK(store->Redact(kGithubValue) != kGithubValue);  // Answers may still show it.
  values.clear();
  values.emplace("GITHUB_TOKEN", Value(kOtherValue + "github"));
  REQUIRE(store->Redeclare(Specs(GithubSpec()), std::move(values)));
  CHECK_FALSE(RefusedAt(*store, "GITHUB_TOKEN", "api.github.com"));
}

TEST_CASE("declarations that can't all hold change nothing") {
  const auto store = StoreOf(GithubSpec());
  const auto unchanged = [&] {
    CHECK_FALSE(RefusedAt(*store, "GITHUB_TOKEN", "api.github.com"));
    CHECK(store->Binds(Name("api.github.com")));
  };
  std::vector<SecretSpec> specs = Specs(Spec("GITHUB_TOKEN", {"other.example"}));
  specs.push_back(Spec("NEW", {"other.example"}));
  CHECK(store->Redeclare(specs, {}).error().code() == Code::kNotFound);
  unchanged();
  specs[1].hosts.clear();
  CHECK_FALSE(store->Redeclare(specs, {}));
  unchanged();
  SecretSpec unscrubbed = GithubSpec();
  unscrubbed.scrub = false;
  CHECK_FALSE(store->Redeclare(Specs(unscrubbed), {}));
  unchanged();
  std::map<std::string, Secret> values;
  values.emplace("GITHUB_TOKEN", Value("short"));
  CHECK_FALSE(store->Redeclare(Specs(GithubSpec()), std::move(values)));
  unchanged();
  specs = Specs(Spec("ADDED", {"other.example"}));
  specs.push_back(Spec("ADDED", {"other.example"}));
  values.clear();
  values.emplace("ADDED", Value(kOtherValue + "added"));
  CHECK_FALSE(store->Redeclare(specs, std::move(values)));
  unchanged();
  CHECK(RefusedAt(*store, "ADDED", "other.example") == Reason::kSecretUnavailable);
}

}  // namespace
}  // namespace sallyport::secrets
