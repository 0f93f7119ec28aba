#include "base/path_glob.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <string>
#include <vector>

namespace sallyport {
namespace {

bool Matches(std::string_view pattern, std::string_view path) {
  const auto glob = PathGlob::Parse(pattern);
  INFO(pattern);
  REQUIRE(glob);
  return glob->Matches(path);
}

std::string Normal(std::string_view path) {
  const auto normal = NormalizePath(path);
  return normal ? *normal : "refused";
}

TEST_CASE("a star stays within its segment") {
  CHECK(Matches("/user", "/user"));
  CHECK_FALSE(Matches("/user", "/user/"));
  CHECK_FALSE(Matches("/user", "/users"));
  CHECK(Matches("/users/*", "/users/a"));
  CHECK_FALSE(Matches("/users/*", "/users/a/b"));
  CHECK_FALSE(Matches("/users/*", "/users"));
  CHECK(Matches("/a/*.json", "/a/b.json"));
  CHECK_FALSE(Matches("/a/*.json", "/a/b/c.json"));
  CHECK(Matches("/a*b*c", "/aXbYbZc"));
  CHECK_FALSE(Matches("/a*b*c", "/aXbYbZ"));
  CHECK(Matches("/", "/"));
  CHECK_FALSE(Matches("/", "/a"));
}

TEST_CASE("two stars span segments, also none") {
  CHECK(Matches("/repos/**", "/repos"));
  CHECK(Matches("/repos/**", "/repos/"));
  CHECK(Matches("/repos/**", "/repos/a/b/c"));
  CHECK_FALSE(Matches("/repos/**", "/repository"));
  CHECK(Matches("/**", "/"));
  CHECK(Matches("/**", "/a/b"));
  CHECK(Matches("/a/**/z", "/a/z"));
  CHECK(Matches("/a/**/z", "/a/b/c/z"));
  CHECK_FALSE(Matches("/a/**/z", "/a/b/c/zz"));
  CHECK(Matches("/a/**/m/**/z", "/a/m/m/x/z"));
  CHECK_FALSE(Matches("/a/**/m/**/z", "/a/x/z"));
  CHECK(Matches("/**/*.git/**", "/o/r.git/info/refs"));
}

TEST_CASE("what is no path matches nothing") {
  CHECK_FALSE(Matches("/**", "*"));
  CHECK_FALSE(Matches("/**", ""));
  CHECK_FALSE(Matches("/**", "a"));
}

TEST_CASE("a bad pattern is refused") {
  for (const std::string_view text :
       {"", "a", "*", "/a**", "/**a/b", "/***", "/a b", "/a?x=1", "/a#b", "/a\nb"}) {
    INFO(text);
    CHECK_FALSE(PathGlob::Parse(text));
  }
}

TEST_CASE("a pattern and a path are compared in one spelling") {
  for (const std::string_view pattern : {"/caf\xc3\xa9", "/caf%c3%a9", "/%63af%C3%A9"}) {
    INFO(pattern);
    CHECK(PathGlob::Parse(pattern)->text() == "/caf%C3%A9");
    for (const std::string_view path : {"/caf%C3%A9", "/caf%c3%a9", "/caf\xc3\xa9", "/%63af%c3%A9"}) {
      CHECK(Matches(pattern, path));
    }
    CHECK_FALSE(Matches(pattern, "/cafe"));
  }
  CHECK(Matches("/a%2fb", "/a%2Fb"));
  CHECK_FALSE(Matches("/a%2fb", "/a/b"));
  CHECK(Matches("/%61", "/a"));
  CHECK(Matches("/@me/*", "/%40me/x"));
  CHECK(Matches("/%40me/*", "/@me/x"));
  CHECK(Matches("/a%20b", "/a%20b"));
  CHECK_FALSE(Matches("/a%25", "/a%"));
}

TEST_CASE("a pattern in a spelling that no path is compared in is refused with what to write") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"/a/../b", "write '/b'"},
      {"/a//b", "write '/a/b'"},
      {"/./a", "write '/a'"},
      {"/a/%2e%2E/b", "write '/b'"},
      {"/a\\b", "write '/a/b'"},
      {"/a%5Cb", "write '/a/b'"},
      {"/a;x/*", "write '/a/*'"},
      {"/a%3Bx", "write '*'"},
      {"/a%", "write %25"},
      {"/a%zz", "write %25"},
      {"/%2A", "write '*'"},
      {"/a%00", "NUL"},
      {"/%c0%ae", "overlong"},
      {"/x/..%2fy", "write '/y'"},
      {"/x?y=1", "no rule looks at a request's query"},
      {"/a b", "escape it with %"}};
  for (const auto& [pattern, wanted] : cases) {
    INFO(pattern);
    const auto glob = PathGlob::Parse(pattern);
    REQUIRE_FALSE(glob);
    CHECK_THAT(glob.error().message(), Catch::Contains(std::string(wanted)));
  }
}

// Whatever spelling a pattern without stars is written in, it matches every spelling of its path and
// of no other one.
TEST_CASE("each spelling of a path is matched by each spelling of its pattern") {
  std::mt19937 dice(1);
  const std::string alphabet = "aZ09-._~!$&'()+,=:@ %\xc3\xa9\"<";
  const auto spell = [&dice](const std::string& bytes, bool raw) {
    static constexpr char kHex[] = "0123456789ABCDEFabcdef";
    std::string path = "/x";
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      const bool must = byte <= 0x20 || c == '%' || c == '"' || c == '<' || (byte >= 0x80 && !raw);
      if (!must && dice() % 2 == 0) {
        path += c;
        continue;
      }
      const auto digit = [&dice](unsigned value) {
        return value >= 10 && dice() % 2 == 0 ? kHex[value + 6] : kHex[value];
      };
      path.append(1, '%').append(1, digit(byte >> 4)).append(1, digit(byte & 15u));
    }
    return path;
  };
  std::vector<std::string> all;
  for (int i = 0; i < 60; ++i) {
    std::string bytes;
    for (auto length = 1 + dice() % 5; length > 0; --length)
      bytes += alphabet[dice() % alphabet.size()];
    all.push_back(bytes);
  }
  for (const std::string& a : all) {
    const auto glob = PathGlob::Parse(spell(a, /*raw=*/true));
    INFO(a);
    REQUIRE(glob);
    for (const std::string& b : all) {
      const std::string path = spell(b, /*raw=*/true);
      INFO(path);
      REQUIRE(glob->Matches(path) == (a == b));
      // A server that decodes sees what the normal form says.
      if (a == b) REQUIRE(glob->Matches(Normal(path)));
    }
  }
}

TEST_CASE("a pattern full of stars is matched in no time") {
  std::string pattern;
  for (int i = 0; i < 20; ++i) pattern += "/**/*a*a*a";
  std::string path;
  for (int i = 0; i < 400; ++i) path += "/aaaaaaaaaaaaaaaa";
  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(Matches(pattern + "/z", path));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
}

TEST_CASE("a path is normalised as servers do") {
  CHECK(Normal("/") == "/");
  CHECK(Normal("/a/b") == "/a/b");
  CHECK(Normal("/a/./b") == "/a/b");
  CHECK(Normal("/a/../b") == "/b");
  CHECK(Normal("/../../b") == "/b");
  CHECK(Normal("/a/..") == "/");
  CHECK(Normal("/a/b/..") == "/a/");
  CHECK(Normal("/a/.") == "/a/");
  CHECK(Normal("//a///b//") == "/a/b/");
  CHECK(Normal("/a/%2e%2E/b") == "/b");
  CHECK(Normal("/a/.%2e/b") == "/b");
  CHECK(Normal("/%61%7e%2D") == "/a~-");
  CHECK(Normal("/a%2fb") == "/a%2Fb");
  CHECK(Normal("/@scope%2Fname") == "/@scope%2Fname");
  CHECK(Normal("/a\\b%5cc%5C..\\d") == "/a/b/d");
  CHECK(Normal("/a;x=1/b;y") == "/a/b");
  CHECK(Normal("/a/..;/b") == "/b");
  CHECK(Normal("/a/;x/b") == "/a/b");
  CHECK(Normal("/%20%25%zz") == "refused");
  CHECK(Normal("/%20%25") == "/%20%25");
  CHECK(Normal("*") == "*");
}

TEST_CASE("dots behind an encoded slash are dots") {
  CHECK(Normal("/repos/..%2f..%2fadmin") == "/admin");
  CHECK(Normal("/repos/x%2F..%2fadmin") == "/repos/admin");
  CHECK(Normal("/repos/%2e%2e%2Fadmin") == "/admin");
  CHECK(Normal("/repos/..%2f") == "/");
}

TEST_CASE("a path that can't be read in one way only is refused") {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {"/%00"sv, "/a\0b"sv, "/%"sv, "/%4"sv, "/%g0"sv, "/%u002e"sv, "/%c0%ae%c0%ae/"sv,
        "/%e0%80%ae"sv, "/%f0%80%80%ae"sv, "/\xc0\xae"sv, "/\xc0%ae"sv}) {
    INFO(text);
    CHECK(Normal(text) == "refused");
  }
}

// All paths of up to four of these pieces.
TEST_CASE("a plain path is its own normal form, and what could be another is not plain") {
  const std::vector<std::string> pieces = {"/", "a", ".", "..", "%2F", "%41", ";x", "\\", "~", "="};
  size_t plain = 0;
  for (size_t i = 0; i < 10'000; ++i) {
    std::string path = "/";
    for (size_t left = i; left > 0; left /= 10) path += pieces[left % 10];
    if (!IsPlainPath(path)) continue;
    ++plain;
    CHECK(Normal(path) == path);
  }
  CHECK(plain > 500);
  for (const char* path : {"", "a", "*", "/a/../b", "/.", "/a//b", "/%61", "/a;b/c", "/a\\b", "/a b",
                           "/a\x7f", "/\xc3\xa9"}) {
    CHECK_FALSE(IsPlainPath(path));
  }
}

TEST_CASE("normalising twice changes nothing more") {
  for (const std::string_view text :
       {"/a/../b//c;d/%2e/%41%2f", "/x/..%2fy", "//", "/;", "/%5c%5c"}) {
    const std::string once = Normal(text);
    INFO(text);
    CHECK(Normal(once) == once);
  }
}

}  // namespace
}  // namespace sallyport
