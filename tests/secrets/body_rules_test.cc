// What decides whether a body is changed, whatever its format.

#include "secrets/basic_auth.h"
#include "tests/secrets/body_fixture.h"

namespace sallyport::secrets {
namespace {

using Body = SecretSpec::Body;
using OnViolation = SecretSpec::OnViolation;

const std::string kValue = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";

struct TextStore {
  explicit TextStore(SecretSpec spec = BodySpec("KEY", Body::kText)) {
    AddTo(store, std::move(spec), kValue);
    key = *store.PlaceholderOf("KEY");
  }
  Store store;
  std::string key;
};

TEST_CASE("a body of text gets the value as it is") {
  const TextStore text;
  for (const char* type : {"text/plain", "TEXT/XML; charset=utf-8", "text/x-anything ; a=b"}) {
    const Passed passed = PassBody(text.store, PostOf(type), {"<a>" + text.key + "</a>"});
    CHECK(passed.out == "<a>" + kValue + "</a>");
    CHECK(passed.found.used == Names{"KEY"});
  }
  CheckEveryCut(text.store, PostOf("text/plain"), text.key + text.key.substr(0, 20) + text.key,
                kValue + text.key.substr(0, 20) + kValue);
}

TEST_CASE("only the declared kind of body is changed; in others placeholders are reported") {
  struct Row {
    const char* type;
    Body body;
  };
  for (const Row& row : std::vector<Row>{{"application/json", Body::kJson},
                                         {"application/vnd.api+json", Body::kJson},
                                         {"application/JSON;charset=utf-8", Body::kJson},
                                         {"application/x-www-form-urlencoded", Body::kForm},
                                         {"text/plain", Body::kText},
                                         {"application/octet-stream", Body::kNone},
                                         {"application/jsonx", Body::kNone},
                                         {"application", Body::kNone},
                                         {"", Body::kNone}}) {
    for (const Body declared : {Body::kJson, Body::kForm, Body::kText}) {
      CAPTURE(row.type);
      const TextStore text(BodySpec("KEY", declared));
      const bool may = row.body == declared;
      const Passed passed = PassBody(text.store, PostOf(row.type), {"\"" + text.key + "\""});
      CHECK(passed.out == "\"" + (may ? kValue : text.key) + "\"");
      CHECK(passed.found.used == (may ? Names{"KEY"} : Names{}));
      CHECK(passed.found.inert == (may ? Names{} : Names{"KEY"}));
    }
  }
}

TEST_CASE("two types of one body are none") {
  const TextStore text;
  RequestHead head = PostOf("text/plain");
  head.headers.Add("Content-Type", "text/plain");
  CHECK(PassBody(text.store, head, {text.key}).out == text.key);
}

TEST_CASE("methods, paths, ports, encryption and hosts hold in bodies as in fields") {
  SecretSpec spec = BodySpec("KEY", Body::kText);
  spec.methods = {"POST"};
  spec.paths = {"/messages"};
  spec.ports = {443};
  const TextStore text(spec);
  const auto becomes = [&](const RequestTarget& target, const RequestHead& head) {
    const auto filter = text.store.BodySubstituter(target, head);
    return filter ? PassBody(*filter, {text.key}).out : text.key;
  };
  RequestHead head = PostOf("text/plain");
  CHECK(becomes(TargetOf(), head) == kValue);
  RequestTarget target = TargetOf();
  target.encrypted = false;
  CHECK(becomes(target, head) == text.key);
  target = TargetOf();
  target.port = 8443;
  CHECK(becomes(target, head) == text.key);
  target.host.reset();
  CHECK(becomes(target, head) == text.key);
  CHECK(becomes(TargetOf("other.test"), head) == text.key);
  head.method = "PUT";
  CHECK(becomes(TargetOf(), head) == text.key);
  head.method = "POST";
  head.path = "/messages/../admin";
  CHECK(becomes(TargetOf(), head) == text.key);
}

TEST_CASE("a body that no secret asks for is not looked at") {
  const TextStore text;
  CHECK(text.store.BodySubstituter(TargetOf("other.test"), PostOf("text/plain")) == nullptr);
  const TextStore headers_only(SpecFor("KEY", "api.test"));
  CHECK(headers_only.store.BodySubstituter(TargetOf(), PostOf("text/plain")) == nullptr);
  CHECK(Store().BodySubstituter(TargetOf(), PostOf("text/plain")) == nullptr);
  CHECK(Store().KeepsBodyLength(TargetOf(), PostOf("text/plain")));
}

TEST_CASE("on_violation holds in bodies, also of secrets that may stand in none") {
  for (const OnViolation asked :
       {OnViolation::kBlock, OnViolation::kPass, OnViolation::kTerminate}) {
    for (const Body body : {Body::kNone, Body::kJson}) {
      for (const char* host : {"api.test", "other.test"}) {
        SecretSpec spec = BodySpec("KEY", body);
        spec.on_violation = asked;
        const TextStore text(spec);
        const auto filter = text.store.BodySubstituter(TargetOf(host), PostOf("text/plain"));
        if (asked == OnViolation::kPass && !filter) continue;
        REQUIRE(filter);
        const Passed passed =
            PassBody(*filter, {"x" + text.key.substr(0, 20), text.key.substr(20) + "y"});
        CHECK(passed.found.terminate == (asked == OnViolation::kTerminate));
        if (asked == OnViolation::kPass) {
          CHECK(passed.out == "x" + text.key + "y");
          CHECK(passed.found.inert == Names{"KEY"});
          continue;
        }
        REQUIRE(passed.found.refusal);
        CHECK(passed.error == passed.found.refusal->detail);
        CHECK(passed.error.find(kValue) == std::string::npos);
        CHECK(passed.found.refusal->reason == (host == std::string("api.test")
                                                   ? Reason::kSecretWrongPlace
                                                   : Reason::kSecretWrongHost));
        CHECK(passed.out.find(text.key) == std::string::npos);
      }
    }
  }
}

TEST_CASE("a secret without a value ends a body that would use it, and no other") {
  Store store;
  REQUIRE(store.AddUnavailable(BodySpec("KEY", Body::kText), "KEY is not set"));
  const std::string key = *store.PlaceholderOf("KEY");
  const Passed passed = PassBody(store, PostOf("text/plain"), {key});
  REQUIRE(passed.found.refusal);
  CHECK(passed.found.refusal->reason == Reason::kSecretUnavailable);
  CHECK(passed.error.find("KEY is not set") != std::string::npos);
  CHECK(PassBody(store, PostOf("text/plain"), {"nothing"}).out == "nothing");
}

TEST_CASE("the length is kept exactly where it is promised") {
  const std::string plain = "abcdefghijklmnopqrstuvwxyz0123456789ABCD";
  const std::string quoted = "abcdefghijklmnopqrstuvwxyz012345678\"ABCD";
  struct Row {
    Body body;
    const char* type;
    std::string value;
    bool keeps;
  };
  for (const Row& row :
       std::vector<Row>{{Body::kText, "text/plain", plain, true},
                        {Body::kText, "text/plain", quoted, true},
                        {Body::kText, "text/plain", "shorter", false},
                        {Body::kJson, "application/json", plain, true},
                        {Body::kJson, "application/json", quoted, false},
                        {Body::kForm, "application/x-www-form-urlencoded", plain, true},
                        {Body::kForm, "application/x-www-form-urlencoded", quoted, false},
                        {Body::kForm, "multipart/form-data;boundary=b", quoted, true}}) {
    CAPTURE(row.type, row.value);
    Store store;
    AddTo(store, BodySpec("KEY", row.body), row.value == "shorter" ? "8 bytes!" : row.value);
    CHECK(store.KeepsBodyLength(TargetOf(), PostOf(row.type)) == row.keeps);
    CHECK(store.KeepsBodyLength(TargetOf(), PostOf("image/png")));
    CHECK(store.KeepsBodyLength(TargetOf("other.test"), PostOf(row.type)));
  }
}

TEST_CASE("a placeholder spelled with escapes stays where the length is to be kept") {
  Store store;
  AddTo(store, BodySpec("KEY", Body::kJson), kValue);
  const std::string key = *store.PlaceholderOf("KEY");
  REQUIRE(store.KeepsBodyLength(TargetOf(), PostOf("application/json")));
  const std::string escaped = "\"\\u0067" + key.substr(1) + "\"";
  const Passed passed = PassBody(store, PostOf("application/json"), {escaped, "\"" + key + "\""});
  CHECK(passed.out == escaped + "\"" + kValue + "\"");
  CHECK(passed.found.used == Names{"KEY"});
  CHECK(passed.found.inert == Names{"KEY"});
}

TEST_CASE("a value that is rotated or revoked while a body is under way is not used any more") {
  TextStore text;
  const auto filter = text.store.BodySubstituter(TargetOf(), PostOf("text/plain"));
  REQUIRE(filter);
  std::string out;
  REQUIRE(filter->Feed(text.key, out));
  CHECK(out == kValue);
  const std::string same_length(kValue.size(), 'n');
  REQUIRE(text.store.Rotate("KEY", *Secret::Create(same_length)));
  REQUIRE(filter->Feed(text.key, out));
  CHECK(out == kValue + same_length);
  REQUIRE(text.store.Rotate("KEY", *Secret::Create("of another length")));
  REQUIRE(filter->Feed(text.key, out));  // The length of the body may be announced.
  CHECK(out == kValue + same_length + text.key);
  REQUIRE(text.store.Revoke("KEY"));
  CHECK_FALSE(filter->Feed(text.key, out));
  REQUIRE(filter->found().refusal);
  CHECK(filter->found().refusal->reason == Reason::kSecretUnavailable);
}

TEST_CASE("a placeholder in base64 or in hex is not put in") {
  const TextStore text;
  std::string body = EncodeBasic(text.key).substr(6) + " ";
  for (const char c : text.key) {
    for (const int digit : {c >> 4, c & 0xf}) body += "0123456789abcdef"[digit];
  }
  CHECK(PassBody(text.store, PostOf("text/plain"), {body}).out == body);
}

}  // namespace
}  // namespace sallyport::secrets
