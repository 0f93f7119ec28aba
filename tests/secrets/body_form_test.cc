#include <cstdio>
#include <random>

#include "tests/secrets/body_fixture.h"
#include "tests/secrets/body_reference.h"

namespace sallyport::secrets {
namespace {

constexpr auto kForm = SecretSpec::Body::kForm;
const std::string kValue = "a value&with=all/+%41 of\"it\xff";
const std::string kEncoded = "a+value%26with%3Dall%2F%2B%2541+of%22it%FF";

struct FormStore {
  FormStore() {
    AddTo(store, BodySpec("KEY", kForm), kValue);
    SecretSpec odd = BodySpec("ODD", kForm);
    odd.placeholder = "a/b+{random}==";
    AddTo(store, std::move(odd), "short/ +");
    AddTo(store, BodySpec("JSON", SecretSpec::Body::kJson), "for JSON bodies alone");
    key = *store.PlaceholderOf("KEY");
    odd_one = *store.PlaceholderOf("ODD");
    json = *store.PlaceholderOf("JSON");
    pairs = {{key, kEncoded}, {odd_one, "short%2F+%2B"}, {json, std::nullopt}};
  }
  Store store;
  std::string key;
  std::string odd_one;
  std::string json;
  Pairs pairs;
  RequestHead head = PostOf("application/x-www-form-urlencoded; charset=UTF-8");
};

// TEXT with every character as %xx.
std::string Percent(std::string_view text) {
  std::string out;
  for (const char c : text) {
    char escape[4];
    std::snprintf(escape, sizeof escape, "%%%02x", static_cast<unsigned char>(c));
    out += escape;
  }
  return out;
}

TEST_CASE("a placeholder in a form becomes its value, percent-encoded") {
  const FormStore form;
  for (const std::string& spelled :
       {form.key, Percent(form.key), form.key.substr(0, 4) + Percent(form.key.substr(4))}) {
    const Passed passed =
        PassBody(form.store, form.head, {"grant=a%20b+c&secret=" + spelled + "&x=%zz"});
    CHECK(passed.out == "grant=a%20b+c&secret=" + kEncoded + "&x=%zz");
    CHECK(passed.found.used == Names{"KEY"});
  }
  const Passed odd = PassBody(form.store, form.head, {Percent("a/b+") + form.odd_one.substr(4)});
  CHECK(odd.out == "short%2F+%2B");
}

TEST_CASE("however a form is cut, it becomes the same") {
  const FormStore form;
  const std::string body = "a=" + form.key + "&b=%" + form.odd_one + "%2&" +
                           Percent(form.odd_one.substr(0, 9)) + form.odd_one.substr(9) + form.json +
                           "&%" + form.key.substr(0, 12) + "%3" + "&" + Percent(form.key) + "%4";
  const std::string expected = NaiveForm(form.pairs, body);
  REQUIRE(expected.find(kEncoded) != std::string::npos);
  CheckEveryCut(form.store, form.head, body, expected);
}

TEST_CASE("random pieces of forms give what the plain way gives") {
  const FormStore form;
  const std::vector<std::string> words = {"&", "=",  "%",      "%2",         "%2f",
                                          "+", "12", form.key, form.odd_one, form.json};
  std::mt19937 random(11);
  for (int round = 0; round < 5000; ++round) {
    std::string body;
    while (body.size() < 200) {
      const std::string& word = words[random() % words.size()];
      const size_t size = random() % 3 == 0 ? random() % (word.size() + 1) : word.size();
      body += random() % 4 == 0 ? Percent(word.substr(0, size)) : word.substr(0, size);
    }
    std::vector<std::string_view> pieces;
    for (size_t at = 0; at < body.size(); at += pieces.back().size()) {
      pieces.push_back(std::string_view(body).substr(at, 1 + random() % 30));
    }
    const std::string expected = NaiveForm(form.pairs, body);
    const std::string out = PassBody(form.store, form.head, pieces).out;
    if (out == expected) continue;
    CAPTURE(body);
    REQUIRE(out == expected);
  }
}

TEST_CASE("a secret declared for another kind of body stays as it is, and is reported") {
  const FormStore form;
  const Passed passed = PassBody(form.store, form.head, {"a=" + form.json});
  CHECK(passed.out == "a=" + form.json);
  CHECK(passed.found.inert == Names{"JSON"});
  CHECK(passed.found.used.empty());
}

TEST_CASE("a placeholder with a percent sign can't be declared where it could not be found") {
  for (int place = 0; place < 3; ++place) {
    Store store;
    SecretSpec spec = SpecFor("KEY", "api.test");
    spec.placeholder = "100%{random}";
    if (place == 0) spec.query = true;
    if (place == 1) spec.path = true;
    if (place == 2) spec.body = kForm;
    Result<Secret> secret = Secret::Create("a value of some length");
    REQUIRE(secret);
    CHECK_FALSE(store.Add(std::move(spec), *std::move(secret)));
  }
}

}  // namespace
}  // namespace sallyport::secrets
