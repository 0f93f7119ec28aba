// Scrubbing, rotation and revocation as the rest of the program meets them.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "secrets/scrub_book.h"
#include "secrets/store.h"

namespace sallyport::secrets {
namespace {

SecretSpec Spec(std::string name) {
  SecretSpec spec;
  spec.name = std::move(name);
  spec.declared_at = "policy.lua:7";
  Result<HostPattern> host = HostPattern::Parse("api.example.com");
  REQUIRE(host);
  spec.hosts.push_back(*std::move(host));
  return spec;
}

SecretSpec Unscrubbed(std::string name) {
  SecretSpec spec = Spec(std::move(name));
  spec.scrub = false;
  return spec;
}

Secret Value(std::string_view value) {
  Result<Secret> secret = Secret::Create(value);
  REQUIRE(secret);
  return *std::move(secret);
}

std::string Through(ByteFilter& filter, std::string_view text) {
  std::string out;
  REQUIRE(filter.Feed(text, out));
  REQUIRE(filter.Finish(out));
  return out;
}

std::string Scrubbed(const Store& store, std::string_view text) {
  const auto filter = store.Scrubber();
  return filter ? Through(*filter, text) : std::string(text);
}

// What a request with NAME's placeholder carries when it leaves; or the reason and detail of its
// refusal.
std::string Sent(const Store& store, std::string_view name) {
  Result<HostName> host = HostName::Parse("api.example.com");
  REQUIRE(host);
  const RequestTarget target{*std::move(host), 443, true};
  RequestHead head;
  head.method = "GET";
  head.path = "/";
  head.headers.Add("x-api-key", *store.PlaceholderOf(name));
  const Examination examination = store.Examine(target, head);
  if (examination.refusal) {
    CHECK(examination.refusal->reason == Reason::kSecretUnavailable);
    return examination.refusal->detail;
  }
  store.Substitute(target, head);
  return *head.headers.Find("x-api-key");
}

TEST_CASE("answers show the placeholder where a server puts the value") {
  Store store;
  CHECK_FALSE(store.scrubs());
  CHECK(store.Scrubber() == nullptr);
  REQUIRE(store.Add(Spec("TOKEN"), Value("a+value/of-a-secret")));
  const std::string& placeholder = *store.PlaceholderOf("TOKEN");
  CHECK(store.scrubs());
  CHECK(Scrubbed(store, "{\"token\":\"a+value\\/of-a-secret\"}") ==
        "{\"token\":\"" + placeholder + "\"}");
  Headers fields;
  fields.Add("location", "/?t=a%2Bvalue%2Fof-a-secret");
  CHECK(store.Scrub(fields));
  CHECK(*fields.Find("location") == "/?t=" + placeholder);
  CHECK_FALSE(store.Scrub(fields));
}

TEST_CASE("a placeholder that is echoed stays as it is") {
  Store store;
  for (const char* value : {"a+value/of-a-secret", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                            "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB", "1234567890123456"}) {
    const std::string name = "S" + std::to_string(store.GuestEnvironment().size());
    REQUIRE(store.Add(Spec(name), Value(value)));
  }
  for (const auto& [name, placeholder] : store.GuestEnvironment()) {
    CHECK(Scrubbed(store, placeholder + " " + placeholder) == placeholder + " " + placeholder);
  }
}

TEST_CASE("a value that stands in a placeholder is refused, whichever comes first") {
  SecretSpec shaped = Spec("SHAPED");
  shaped.placeholder = "my-company-token-{random}";
  const auto message = [](const Status& status) {
    REQUIRE_FALSE(status);
    CHECK(status.error().code() == Code::kInvalid);
    CHECK(status.error().message().find("company") == std::string::npos);
    return status.error().message();
  };
  Store store;
  REQUIRE(store.Add(shaped, Value("something else")));
  CHECK(message(store.Add(Spec("PART"), Value("company-token"))).find("SHAPED") !=
        std::string::npos);
  CHECK(message(store.Rotate("SHAPED", Value("company-token"))).find("SHAPED") !=
        std::string::npos);
  CHECK(Sent(store, "SHAPED") == "something else");

  Store other;
  REQUIRE(other.Add(Spec("PART"), Value("company-token")));
  message(other.Add(shaped, Value("something else")));
  CHECK(other.PlaceholderOf("SHAPED") == nullptr);
  CHECK(Scrubbed(other, "company-token") == *other.PlaceholderOf("PART"));
}

TEST_CASE("with scrub = false a short value is taken, and answers show the value") {
  Store store;
  const Status refused = store.Add(Spec("PIN"), Value("1234567"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("scrub = false") != std::string::npos);
  REQUIRE(store.Add(Unscrubbed("PIN"), Value("1234")));
  REQUIRE(store.Add(Unscrubbed("LONG"), Value("a longer value")));
  CHECK_FALSE(store.scrubs());
  CHECK(Scrubbed(store, "a longer value") == "a longer value");
  CHECK(store.Redact("a longer value, 1234") == *store.PlaceholderOf("LONG") + ", 1234");
  REQUIRE(store.Add(Spec("OTHER"), Value("another value")));
  CHECK(Scrubbed(store, "a longer value, another value") ==
        "a longer value, " + *store.PlaceholderOf("OTHER"));
  REQUIRE(store.Rotate("PIN", Value("4321")));
  CHECK(Sent(store, "PIN") == "4321");
}

TEST_CASE("redaction knows every rendering") {
  Store store;
  REQUIRE(store.Add(Spec("TOKEN"), Value("a+value/of-a-secret")));
  CHECK(store.Redact("GET /?t=a%2bvalue%2Fof-a-secret") ==
        "GET /?t=" + *store.PlaceholderOf("TOKEN"));
  CHECK(store.Redact("YSt2YWx1ZS9vZi1hLXNlY3JldA==").find("1ZS9vZi1hLXN") == std::string::npos);
}

TEST_CASE("rotation keeps the placeholder, and the old value is still scrubbed") {
  Store store;
  REQUIRE(store.Add(Spec("TOKEN"), Value("the first value")));
  const std::string placeholder = *store.PlaceholderOf("TOKEN");
  REQUIRE(store.Rotate("TOKEN", Value("a second value that is longer")));
  CHECK(*store.PlaceholderOf("TOKEN") == placeholder);
  CHECK(Sent(store, "TOKEN") == "a second value that is longer");
  CHECK(Scrubbed(store, "the first value, a second value that is longer") ==
        placeholder + ", " + placeholder);
  REQUIRE(store.Rotate("TOKEN", Value("the first value")));
  CHECK(Sent(store, "TOKEN") == "the first value");
  CHECK(Scrubbed(store, "the first value, a second value that is longer") ==
        placeholder + ", " + placeholder);
}

TEST_CASE("rotation is checked as a declaration is, and a refused one changes nothing") {
  Store store;
  REQUIRE(store.Add(Spec("TOKEN"), Value("the first value")));
  const Status missing = store.Rotate("OTHER", Value("the first value"));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == Code::kNotFound);
  for (const char* value : {"7 bytes", "a tab \t in it", " begins with a space"}) {
    const Status status = store.Rotate("TOKEN", Value(value));
    REQUIRE_FALSE(status);
    CHECK(status.error().code() == Code::kInvalid);
    CHECK(status.error().message().find(value) == std::string::npos);
  }
  CHECK(Sent(store, "TOKEN") == "the first value");
}

TEST_CASE("a stream that runs while secrets change is free of old and new values") {
  auto store = std::make_unique<Store>();
  REQUIRE(store->Add(Spec("TOKEN"), Value("the first value")));
  const std::string placeholder = *store->PlaceholderOf("TOKEN");
  const auto filter = store->Scrubber();
  std::string out;
  REQUIRE(filter->Feed("the first ", out));
  REQUIRE(store->Rotate("TOKEN", Value("a second value that is longer")));
  REQUIRE(filter->Feed("value, a second value", out));
  REQUIRE(store->Add(Spec("OTHER"), Value("another value")));
  const std::string other = *store->PlaceholderOf("OTHER");
  REQUIRE(store->Revoke("TOKEN"));
  store.reset();
  REQUIRE(filter->Feed(" that is longer, another value, the first value", out));
  REQUIRE(filter->Finish(out));
  CHECK(out == placeholder + ", " + placeholder + ", " + other + ", " + placeholder);
}

TEST_CASE("a revoked secret is refused, and its values are still scrubbed") {
  Store store;
  REQUIRE(store.Add(Spec("TOKEN"), Value("the first value")));
  REQUIRE(store.Rotate("TOKEN", Value("the second value")));
  const Status missing = store.Revoke("OTHER");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == Code::kNotFound);
  REQUIRE(store.Revoke("TOKEN"));
  REQUIRE(store.Revoke("TOKEN"));
  CHECK(Sent(store, "TOKEN").find("it was revoked") != std::string::npos);
  const std::string& placeholder = *store.PlaceholderOf("TOKEN");
  CHECK(Scrubbed(store, "the first value, the second value") == placeholder + ", " + placeholder);
  REQUIRE(store.Rotate("TOKEN", Value("the third value")));
  CHECK(Sent(store, "TOKEN") == "the third value");
}

TEST_CASE("a secret without a value gets one by rotation") {
  Store store;
  REQUIRE(store.AddUnavailable(Spec("TOKEN"), "no such file"));
  CHECK_FALSE(store.scrubs());
  REQUIRE(store.Rotate("TOKEN", Value("a value at last")));
  CHECK(Sent(store, "TOKEN") == "a value at last");
  CHECK(Scrubbed(store, "a value at last") == *store.PlaceholderOf("TOKEN"));
}

TEST_CASE("of values that are not in use any more the latest are remembered, up to a bound") {
  Store store;
  const auto value = [](size_t i) { return "value number " + std::to_string(100000 + i); };
  REQUIRE(store.Add(Spec("TOKEN"), Value(value(0))));
  for (size_t i = 1; i <= ScrubBook::kMaxRetired + 1; ++i) {
    REQUIRE(store.Rotate("TOKEN", Value(value(i))));
  }
  CHECK(Scrubbed(store, value(0)) == value(0));
  for (size_t i = 1; i <= ScrubBook::kMaxRetired + 1; ++i) {
    CHECK(Scrubbed(store, value(i)) == *store.PlaceholderOf("TOKEN"));
  }
}

TEST_CASE("of two secrets with one value the first one's placeholder stands there") {
  Store store;
  REQUIRE(store.Add(Spec("A"), Value("the same value")));
  REQUIRE(store.Add(Spec("B"), Value("the same value")));
  CHECK(Scrubbed(store, "the same value") == *store.PlaceholderOf("A"));
  REQUIRE(store.Rotate("A", Value("another value")));
  CHECK(Scrubbed(store, "the same value") == *store.PlaceholderOf("B"));
}

}  // namespace
}  // namespace sallyport::secrets
