#include <random>

#include "secrets/multipart.h"
#include "tests/secrets/body_fixture.h"
#include "tests/secrets/body_reference.h"

namespace sallyport::secrets {
namespace {

constexpr auto kForm = SecretSpec::Body::kForm;
const std::string kValue = "a value & \"all\" of it/+%\xff";

struct MultipartStore {
  MultipartStore() {
    AddTo(store, BodySpec("KEY", kForm), kValue);
    key = *store.PlaceholderOf("KEY");
    pairs = {{key, kValue}};
  }
  Store store;
  std::string key;
  Pairs pairs;
  RequestHead head = PostOf("multipart/form-data; charset=x; boundary=\"--b=1\"");
};

TEST_CASE("a placeholder in a part's body becomes its value as it is") {
  const MultipartStore parts;
  const std::string body = "----b=1\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n" +
                           parts.key + "\r\n----b=1\r\n\r\nx" + parts.key + parts.key +
                           "\ny\r\n----b=1--\r\n";
  const Passed passed = PassBody(parts.store, parts.head, {body});
  CHECK(passed.out == "----b=1\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n" + kValue +
                          "\r\n----b=1\r\n\r\nx" + kValue + kValue + "\ny\r\n----b=1--\r\n");
  CHECK(passed.found.used == Names{"KEY"});
  CHECK(passed.found.inert.empty());
}

TEST_CASE("boundary lines, fields of parts and what is around the parts stay as they are") {
  const MultipartStore parts;
  for (const std::string& body :
       {parts.key + "\r\n----b=1--\r\n\r\n" + parts.key, "----b=1" + parts.key + "\r\n",
        "----b=1\r\nname: " + parts.key + "\r\n" + parts.key + "\r\n",
        "----b=1\r\n\r\nx\r\n----b=1--\r\n----b=1\r\n\r\n" + parts.key, parts.key}) {
    CAPTURE(body);
    const Passed passed = PassBody(parts.store, parts.head, {body});
    CHECK(passed.out == body);
    CHECK(passed.found.used.empty());
    CHECK(passed.found.inert == Names{"KEY"});
  }
}

TEST_CASE("however a multipart body is cut, it becomes the same") {
  const MultipartStore parts;
  const std::string body = "pre\r\n----b=1\r\nn: " + parts.key + "\r\n\r\n--" + parts.key +
                           "\r\n----b=\r\n-" + parts.key.substr(0, 14) + "\r\n----b=1 \n\n" +
                           parts.key + "\n----b=1\r\n\r\n----b=1\r\nx\r\r\n\r\n" + parts.key +
                           "\r\n----b=1--\r\n" + parts.key + "\r\n----b=1";
  const std::string expected = NaiveMultipart(parts.pairs, "--b=1", body);
  REQUIRE(expected.find(kValue) != std::string::npos);
  CheckEveryCut(parts.store, parts.head, body, expected);
}

TEST_CASE("random lines give what the plain way gives") {
  const MultipartStore parts;
  const std::vector<std::string> words = {"\r\n", "\n",   "\r", "----b=1", "\r\n----b=1\r\n\r\n",
                                          "--",   "n:x",  "-",  parts.key, "\n----b=1--",
                                          "----", "\n--", "b=1"};
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::string body;
    while (body.size() < 200) {
      const std::string& word = words[random() % words.size()];
      body += word.substr(0, random() % 4 == 0 ? random() % (word.size() + 1) : word.size());
    }
    std::vector<std::string_view> pieces;
    for (size_t at = 0; at < body.size(); at += pieces.back().size()) {
      pieces.push_back(std::string_view(body).substr(at, 1 + random() % 30));
    }
    const std::string expected = NaiveMultipart(parts.pairs, "--b=1", body);
    const std::string out = PassBody(parts.store, parts.head, pieces).out;
    if (out == expected) continue;
    CAPTURE(body);
    REQUIRE(out == expected);
  }
}

TEST_CASE("a form of parts without one good boundary is left alone") {
  const MultipartStore parts;
  for (const char* type :
       {"multipart/form-data",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a\"", "multipart/mixed; boundary=a",
        "multipart/form-data; "
        "boundary=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaa"}) {
    CAPTURE(type);
    const std::string body = "--a\r\n\r\n" + parts.key + "\r\n--a--\r\n";
    const Passed passed = PassBody(parts.store, PostOf(type), {body});
    CHECK(passed.out == body);
    CHECK(passed.found.inert == Names{"KEY"});
  }
}

}  // namespace
}  // namespace sallyport::secrets
