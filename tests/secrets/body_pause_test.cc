#include <string>

#include "tests/secrets/body_fixture.h"

// A request's body that is streamed and pauses: what may have begun a placeholder goes all the same,
// and no placeholder is put in by half.

namespace sallyport::secrets {
namespace {

using Body = SecretSpec::Body;

const std::string kValue = "ghp_the0real0value0of0the0token0that0is0long";
constexpr size_t kAnchorSize = 8;

struct Kind {
  Body body;
  const char* type;
  const char* before;
  const char* after;
};
constexpr Kind kKinds[] = {
    {Body::kJson, "application/json", "{\"a\": \"gh ", "\"}"},
    {Body::kForm, "application/x-www-form-urlencoded", "a=gh%", "&b=1"},
    {Body::kForm, "multipart/form-data; boundary=xyz", "--xyz\r\n\r\ngh", "\r\n--xyz--\r\n"},
    {Body::kText, "text/plain", "gh ", "\n"}};

struct Gave {
  std::string at_pause;
  std::string out;
  std::string error;
  Examination found;
};

/// What BODY becomes when it pauses behind SIZE bytes.
Gave PauseAt(const Store& store, const char* type, std::string_view body, size_t size) {
  const auto filter = store.BodySubstituter(TargetOf(), PostOf(type));
  REQUIRE(filter);
  Gave gave;
  Status status = filter->Feed(body.substr(0, size), gave.out);
  REQUIRE(status);
  filter->Pause(gave.out);
  gave.at_pause = gave.out;
  filter->Pause(gave.out);
  CHECK(gave.out == gave.at_pause);
  status = filter->Feed(body.substr(size), gave.out);
  if (status) status = filter->Finish(gave.out);
  if (!status) gave.error = status.error().message();
  gave.found = filter->found();
  return gave;
}

TEST_CASE("a body that pauses is all sent, and a placeholder in it is put in whole or denied") {
  for (const Kind& kind : kKinds) {
    Store store;
    AddTo(store, BodySpec("KEY", kind.body), kValue);
    const std::string placeholder = *store.PlaceholderOf("KEY");
    const std::string before = kind.before;
    const std::string body = before + placeholder + kind.after;
    const size_t anchored = before.size() + 4 + kAnchorSize;
    for (size_t size = 0; size <= body.size(); ++size) {
      CAPTURE(kind.type, size);
      const Gave gave = PauseAt(store, kind.type, body, size);
      if (size <= before.size() || size >= anchored) {
        CHECK(gave.error.empty());
        CHECK(gave.out == before + kValue + kind.after);
        CHECK(gave.found.used == Names{"KEY"});
      } else {
        CHECK(gave.at_pause == body.substr(0, size));
        CHECK(gave.error ==
              "The placeholder of secret KEY came in pieces, with a pause in it that was too long.");
        REQUIRE(gave.found.refusal);
        CHECK(gave.found.refusal->reason == Reason::kSecretWrongPlace);
        CHECK(gave.found.used.empty());
      }
      if (size >= anchored && size < before.size() + placeholder.size()) {
        CHECK(gave.at_pause == before);
      }
    }
  }
}

TEST_CASE("what only looks like the beginning of a placeholder goes on, whatever follows a pause") {
  for (const Kind& kind : kKinds) {
    Store store;
    AddTo(store, BodySpec("KEY", kind.body), kValue);
    const std::string placeholder = *store.PlaceholderOf("KEY");
    const std::string cut = kind.before + placeholder.substr(0, 10);
    for (const std::string& rest : {std::string("x"), "ghp_" + std::string(20, 'y'), placeholder}) {
      const std::string body = cut + rest + kind.after;
      CAPTURE(kind.type, rest);
      for (size_t size = cut.size() - 10; size <= cut.size(); ++size) {
        const Gave gave = PauseAt(store, kind.type, body, size);
        CHECK(gave.error.empty());
        CHECK(gave.at_pause == body.substr(0, size));
        CHECK(gave.out == cut + (rest == placeholder ? kValue : rest) + kind.after);
      }
    }
  }
}

TEST_CASE("an escape that a pause cuts is sent on as it is") {
  Store store;
  AddTo(store, BodySpec("KEY", Body::kJson), kValue);
  const std::string body = "[\"\\u0067\\u0068\\u0070\", \"" + *store.PlaceholderOf("KEY") + "\"]";
  for (size_t size = 0; size < 24; ++size) {
    const Gave gave = PauseAt(store, "application/json", body, size);
    CHECK(gave.at_pause == body.substr(0, size));
    CHECK(gave.out == "[\"\\u0067\\u0068\\u0070\", \"" + kValue + "\"]");
  }
}

TEST_CASE("a body that is only looked at can be refused behind any pause") {
  Store store;
  SecretSpec spec = SpecFor("KEY", "other.test");
  spec.on_violation = SecretSpec::OnViolation::kBlock;
  AddTo(store, spec, kValue);
  const std::string placeholder = *store.PlaceholderOf("KEY");
  const std::string body = "gh" + placeholder + "\n";
  const auto filter = store.BodySubstituter(TargetOf(), PostOf("application/grpc"));
  REQUIRE(filter);
  CHECK(filter->only_looks());
  for (size_t size = 0; size < 2 + placeholder.size(); ++size) {
    const Gave gave = PauseAt(store, "application/grpc", body, size);
    CHECK(gave.error == "The placeholder of secret KEY may not go to api.test; these may receive "
                        "it: other.test.");
    if (size < 2 + 4 + kAnchorSize) CHECK(gave.at_pause == body.substr(0, size));
  }
}

}  // namespace
}  // namespace sallyport::secrets
