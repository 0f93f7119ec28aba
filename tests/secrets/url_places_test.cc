// Placeholders in the path and the query of a request.

#include <cstdio>

#include "tests/secrets/body_fixture.h"

namespace sallyport::secrets {
namespace {

using OnViolation = SecretSpec::OnViolation;

const std::string kValue = "12345:a/b?c=d&e+f #%2F;~";
const std::string kInPath = "12345:a%2Fb%3Fc=d&e+f%20%23%252F%3B~";
const std::string kInQuery = "12345%3Aa%2Fb%3Fc%3Dd%26e%2Bf%20%23%252F%3B~";

SecretSpec UrlSpec() {
  SecretSpec spec = SpecFor("KEY", "api.test");
  spec.query = spec.path = true;
  return spec;
}

struct UrlStore {
  explicit UrlStore(SecretSpec spec = UrlSpec()) {
    AddTo(store, std::move(spec), kValue);
    key = *store.PlaceholderOf("KEY");
  }
  Store store;
  std::string key;
};

RequestHead GetOf(std::string path, std::optional<std::string> query = std::nullopt) {
  RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.authority = "api.test";
  head.path = std::move(path);
  head.query = std::move(query);
  return head;
}

std::string Percent(std::string_view text) {
  std::string out;
  for (const char c : text) {
    char escape[4];
    std::snprintf(escape, sizeof escape, "%%%02X", static_cast<unsigned char>(c));
    out += escape;
  }
  return out;
}

// What HEAD's target becomes, after the checks that hold for every request.
Examination Pass(const Store& store, RequestHead& head, const RequestTarget& target = TargetOf()) {
  const std::string before = head.Target();
  Examination examination = store.Examine(target, head);
  store.Substitute(target, head);
  if (examination.refusal || examination.used.empty()) REQUIRE(head.Target() == before);
  return examination;
}

TEST_CASE("a value in a path stays one segment") {
  const UrlStore url;
  RequestHead head = GetOf("/bot" + url.key + "/a%2fb//c;x=" + url.key + "/%zz", "q=%41&&=+");
  const Examination examination = Pass(url.store, head);
  CHECK(head.path == "/bot" + kInPath + "/a%2fb//c;x=" + kInPath + "/%zz");
  CHECK(head.query == "q=%41&&=+");
  CHECK(examination.used == Names{"KEY"});
  CHECK(examination.inert.empty());
}

TEST_CASE("a value in a query is one name or one value, and the rest keeps order and spelling") {
  const UrlStore url;
  RequestHead head = GetOf("/%7e/x", "b=%7E&key=" + url.key + "&a=+%2b&" + url.key + "=1&&b");
  Pass(url.store, head);
  CHECK(head.path == "/%7e/x");
  CHECK(head.query == "b=%7E&key=" + kInQuery + "&a=+%2b&" + kInQuery + "=1&&b");
}

TEST_CASE("a placeholder is found however a client percent-encoded it") {
  SecretSpec spec = UrlSpec();
  spec.placeholder = "a/b+{random}=";
  const UrlStore url(spec);
  for (const std::string& spelled :
       {url.key, Percent(url.key), Percent(url.key.substr(0, 4)) + url.key.substr(4),
        url.key.substr(0, 9) + Percent(url.key.substr(9, 3)) + url.key.substr(12)}) {
    RequestHead head = GetOf("/x/" + spelled + "/y", spelled + "%");
    Pass(url.store, head);
    CHECK(head.path == "/x/" + kInPath + "/y");
    CHECK(head.query == kInQuery + "%");
  }
  RequestHead twice = GetOf("/" + Percent("%") + Percent(url.key).substr(1));
  CHECK(Pass(url.store, twice).used.empty());
}

TEST_CASE("a path or a query that the declaration does not name keeps its placeholder") {
  for (const bool in_path : {false, true}) {
    SecretSpec spec = UrlSpec();
    spec.query = !in_path;
    spec.path = in_path;
    const UrlStore url(spec);
    for (const std::string& spelled : {url.key, Percent(url.key)}) {
      RequestHead head = GetOf("/" + spelled, spelled);
      const Examination examination = Pass(url.store, head);
      CHECK(head.path == "/" + (in_path ? kInPath : spelled));
      CHECK(head.query == (in_path ? spelled : kInQuery));
      CHECK(examination.used == Names{"KEY"});
      CHECK(examination.inert == Names{"KEY"});
    }
  }
}

TEST_CASE("hosts, methods, paths, ports and encryption hold in a URL as in fields") {
  SecretSpec spec = UrlSpec();
  spec.methods = {"GET"};
  spec.paths = {"/bot*/**"};
  spec.ports = {443};
  const UrlStore url(spec);
  const auto passes = [&](RequestHead head, const RequestTarget& target) {
    return !Pass(url.store, head, target).used.empty();
  };
  const RequestHead good = GetOf("/bot" + url.key + "/me");
  CHECK(passes(good, TargetOf()));
  CHECK_FALSE(passes(GetOf("/bot" + url.key + "/../../admin/" + url.key), TargetOf()));
  CHECK_FALSE(passes(GetOf("/x/" + url.key), TargetOf()));
  CHECK_FALSE(passes(good, TargetOf("other.test")));
  RequestTarget target = TargetOf();
  target.encrypted = false;
  CHECK_FALSE(passes(good, target));
  target = TargetOf();
  target.port = 8443;
  CHECK_FALSE(passes(good, target));
  target.host.reset();
  CHECK_FALSE(passes(good, target));
  RequestHead post = good;
  post.method = "POST";
  CHECK_FALSE(passes(post, TargetOf()));
}

TEST_CASE("a path is matched as it was before the value is in it") {
  SecretSpec spec = SpecFor("KEY", "api.test");
  spec.query = spec.path = true;
  spec.paths = {"/bot*/me"};
  const UrlStore url(spec);
  RequestHead head = GetOf("/bot" + url.key + "/me", "again=" + url.key);
  CHECK_FALSE(Pass(url.store, head).refusal);
  CHECK(head.path == "/bot" + kInPath + "/me");
  CHECK(head.query == "again=" + kInQuery);
}

TEST_CASE("on_violation decides about a URL, which passes where nothing is said") {
  for (const OnViolation asked :
       {OnViolation::kDefault, OnViolation::kPass, OnViolation::kBlock, OnViolation::kTerminate}) {
    const bool passes = asked == OnViolation::kDefault || asked == OnViolation::kPass;
    SecretSpec spec = UrlSpec();
    spec.path = false;
    spec.on_violation = asked;
    const UrlStore url(spec);
    for (const char* host : {"api.test", "other.test"}) {
      RequestHead head = GetOf("/" + Percent(url.key));
      const Examination examination = Pass(url.store, head, TargetOf(host));
      CHECK(examination.refusal.has_value() != passes);
      CHECK(examination.terminate == (asked == OnViolation::kTerminate));
      CHECK(examination.inert.empty() != passes);
      if (!examination.refusal) continue;
      CHECK(
          examination.refusal->reason ==
          (host == std::string("api.test") ? Reason::kSecretWrongPlace : Reason::kSecretWrongHost));
    }
  }
}

TEST_CASE("a secret without a value refuses a URL that would use it") {
  Store store;
  REQUIRE(store.AddUnavailable(UrlSpec(), "KEY is not set"));
  RequestHead head = GetOf("/", "key=" + *store.PlaceholderOf("KEY"));
  const Examination examination = Pass(store, head);
  REQUIRE(examination.refusal);
  CHECK(examination.refusal->reason == Reason::kSecretUnavailable);
}

TEST_CASE("wiping a head wipes a path and a query that hold values") {
  const UrlStore url;
  RequestHead head = GetOf("/" + url.key, url.key);
  Pass(url.store, head);
  const char* path = head.path.data();
  const size_t size = head.path.size();
  WipeHead(head);
  CHECK(head.path.empty());
  CHECK(head.query == "");
  head.path.resize(size);  // Within the capacity: the same bytes.
  REQUIRE(head.path.data() == path);
  CHECK(head.path == std::string(size, '\0'));
}

}  // namespace
}  // namespace sallyport::secrets
