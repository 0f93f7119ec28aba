#include <cstdio>
#include <random>

#include "tests/secrets/body_fixture.h"
#include "tests/secrets/body_reference.h"

namespace sallyport::secrets {
namespace {

constexpr auto kJson = SecretSpec::Body::kJson;
const std::string kValue = "a \"quoted\" \\ value/with \xc3\xa9+=";
const std::string kEscaped = "a \\\"quoted\\\" \\\\ value/with \xc3\xa9+=";

// KEY and its placeholder with a '/' for api.test, OTHER for another host.
struct JsonStore {
  JsonStore() {
    AddTo(store, BodySpec("KEY", kJson), kValue);
    SecretSpec slashes = BodySpec("SLASHES", kJson);
    slashes.placeholder = "a/b/{random}+=";
    AddTo(store, std::move(slashes), "short/ +");
    AddTo(store, BodySpec("OTHER", kJson, "other.test"), "the value of other");
    key = *store.PlaceholderOf("KEY");
    slashed = *store.PlaceholderOf("SLASHES");
    other = *store.PlaceholderOf("OTHER");
    pairs = {{key, kEscaped}, {slashed, "short/ +"}, {other, std::nullopt}};
  }
  Store store;
  std::string key;
  std::string slashed;
  std::string other;
  Pairs pairs;
  RequestHead head = PostOf("application/json");
};

// TEXT with every character as \uXXXX.
std::string Unicode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04X", static_cast<unsigned char>(c));
    out += escape;
  }
  return out;
}

std::string WithEscapedSlashes(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '/') out += '\\';
    out += c;
  }
  return out;
}

TEST_CASE("a placeholder in a JSON string becomes its value, escaped") {
  const JsonStore json;
  const std::string body = "{\"token\": \"" + json.key + "\", \"n\": [1, \"x " + json.key + "\"]}";
  const Passed passed = PassBody(json.store, json.head, {body});
  CHECK(passed.out == "{\"token\": \"" + kEscaped + "\", \"n\": [1, \"x " + kEscaped + "\"]}");
  CHECK(passed.found.used == Names{"KEY"});
  CHECK(passed.found.inert.empty());
  CHECK(passed.error.empty());
}

TEST_CASE("a placeholder is found in every spelling that JSON has for it") {
  const JsonStore json;
  for (const std::string& spelled :
       {json.slashed, WithEscapedSlashes(json.slashed), Unicode(json.slashed),
        json.slashed.substr(0, 5) + Unicode(json.slashed.substr(5, 3)) + json.slashed.substr(8)}) {
    CAPTURE(spelled);
    CHECK(PassBody(json.store, json.head, {"[\"" + spelled + "\"]"}).out == "[\"short/ +\"]");
    CHECK(PassBody(json.store, json.head, {"[\"\\n" + spelled + "\\\"\"]"}).out ==
          "[\"\\nshort/ +\\\"\"]");
  }
}

TEST_CASE("however a JSON body is cut, it becomes the same") {
  const JsonStore json;
  const std::string body = "{\"a\\\\\":\"" + json.key + "\",\"\\\"" + json.slashed.substr(0, 9) +
                           "\":\"\\u00e9" + WithEscapedSlashes(json.slashed) +
                           "\\\\\",b:" + json.key + ",\"" + Unicode(json.key.substr(0, 9)) +
                           json.key.substr(9) + json.other + "\\u12\"";
  const std::string expected = NaiveJson(json.pairs, body);
  REQUIRE(expected.find(kEscaped) != std::string::npos);
  CheckEveryCut(json.store, json.head, body, expected);
}

TEST_CASE("random pieces of JSON give what the plain way gives") {
  const JsonStore json;
  const std::vector<std::string> words = {"\"",      "\\",       "\\\"",       "\\u",  "\\u003",
                                          "\\u0031", "/",        "\\/",        "{",    "12",
                                          json.key,  json.other, json.slashed, "\xc3", "\\u12"};
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    std::string body;
    while (body.size() < 200) {
      const std::string& word = words[random() % words.size()];
      const size_t size = random() % 3 == 0 ? random() % (word.size() + 1) : word.size();
      body += random() % 5 == 0 ? Unicode(word.substr(0, size)) : word.substr(0, size);
    }
    std::vector<std::string_view> pieces;
    for (size_t at = 0; at < body.size(); at += pieces.back().size()) {
      pieces.push_back(std::string_view(body).substr(at, 1 + random() % 30));
    }
    const std::string expected = NaiveJson(json.pairs, body);
    const std::string out = PassBody(json.store, json.head, pieces).out;
    if (out == expected) continue;
    CAPTURE(body);
    REQUIRE(out == expected);
  }
}

TEST_CASE("malformed JSON is not repaired: nothing but placeholders in strings changes") {
  const JsonStore json;
  for (const std::string& body :
       {std::string("{\"a\": "), "\"" + json.key.substr(0, 20), std::string("\\\"\\"),
        std::string("\"\\u00"), "\"a\nb\x01\" } ] " + json.key,
        std::string("\"\\x41\\\n\"\0\"", 10)}) {
    CAPTURE(body);
    CHECK(PassBody(json.store, json.head, {body}).out == body);
  }
  CHECK(PassBody(json.store, json.head, {"\"" + json.key}).out == "\"" + kEscaped);
}

TEST_CASE("outside a string a placeholder stays, and is reported") {
  const JsonStore json;
  const std::string body = "{\"a\": " + json.key + ", \"b\\\\\": \"" + json.other + "\"}";
  const Passed passed = PassBody(json.store, json.head, {body});
  CHECK(passed.out == body);
  CHECK(passed.found.used.empty());
  CHECK(passed.found.inert == Names{"KEY", "OTHER"});
}

TEST_CASE("a value that is not UTF-8 can't be declared for JSON") {
  Store store;
  Result<Secret> secret = Secret::Create("latin \xe9 letters");
  REQUIRE(secret);
  const Status added = store.Add(BodySpec("KEY", kJson), *std::move(secret));
  REQUIRE_FALSE(added);
  CHECK(added.error().code() == Code::kInvalid);
  CHECK(added.error().message().find("UTF-8") != std::string::npos);
  CHECK(added.error().message().find("latin") == std::string::npos);
  AddTo(store, BodySpec("KEY", kJson), kValue);
  Result<Secret> rotated = Secret::Create("latin \xe9 letters");
  REQUIRE(rotated);
  CHECK_FALSE(store.Rotate("KEY", *std::move(rotated)));
}

}  // namespace
}  // namespace sallyport::secrets
