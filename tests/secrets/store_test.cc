#include "secrets/store.h"

#include <catch2/catch.hpp>
#include <string>

#include "secrets/basic_auth.h"
#include "store_fixture.h"

namespace sallyport::secrets {
namespace {

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

TEST_CASE("what was prepared puts in the value of now, and none that was revoked") {
  Store store;
  REQUIRE(store.Add(GithubSpec(), Value(kGithubValue)));
  const std::string placeholder = *store.PlaceholderOf("GITHUB_TOKEN");
  const RequestHead asked = Get({{"authorization", "token " + placeholder}});
  const RequestTarget target = To("api.github.com");
  PreparedRequest prepared;
  REQUIRE(Refused(store.Examine(target, asked, &prepared)) == Reason::kAllowed);
  std::optional<Refusal> refusal;
  const auto sent = [&] {
    RequestHead head = asked;
    refusal = store.Substitute(target, head, prepared);
    return *head.headers.Find("authorization");
  };
  CHECK(sent() == "token " + kGithubValue);
  CHECK_FALSE(refusal);
  REQUIRE(store.Rotate("GITHUB_TOKEN", Value(kOtherValue)));
  CHECK(sent() == "token " + kOtherValue);
  CHECK_FALSE(refusal);
  REQUIRE(store.MakeUnavailable("GITHUB_TOKEN", "it has expired"));
  CHECK(sent() == "token " + placeholder);
  REQUIRE(refusal);
  CHECK(refusal->reason == Reason::kSecretUnavailable);
  REQUIRE(store.Rotate("GITHUB_TOKEN", Value(kGithubValue)));
  REQUIRE(store.Examine(target, asked, &prepared).used == Names{"GITHUB_TOKEN"});
  REQUIRE(store.Redeclare({}, {}));
  CHECK(sent() == "token " + placeholder);
}

TEST_CASE("what was prepared for another head is decided anew") {
  Store store;
  REQUIRE(store.Add(GithubSpec(), Value(kGithubValue)));
  const std::string placeholder = *store.PlaceholderOf("GITHUB_TOKEN");
  const RequestTarget target = To("api.github.com");
  PreparedRequest prepared;
  (void)store.Examine(target, Get({{"authorization", "token " + placeholder}}), &prepared);
  RequestHead other = Get({{"x-note", placeholder}, {"authorization", "token " + placeholder}});
  RequestHead anew = other;
  store.Substitute(target, anew);
  store.Substitute(target, other, prepared);
  CHECK(Bytes(other) == Bytes(anew));
  CHECK(other.headers.fields()[1].value == "token " + kGithubValue);
}

}  // namespace
}  // namespace sallyport::secrets
