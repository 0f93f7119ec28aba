#include "policy/path_shapes.h"

#include <catch2/catch.hpp>
#include <random>

#include "base/path_glob.h"

namespace sallyport::policy {
namespace {

using Paths = std::vector<std::string>;

Paths GlobsOf(const Paths& paths) {
  PathShapes shapes;
  for (const auto& path : paths) shapes.Add(path);
  return shapes.Globs();
}

bool Matches(const Paths& globs, const std::string& path) {
  if (globs.empty()) return true;
  for (const auto& glob : globs) {
    if (PathGlob::Parse(glob)->Matches(path)) return true;
  }
  return false;
}

TEST_CASE("what only identifies one thing becomes a star") {
  struct Row {
    const char* segment;
    const char* shape;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"", ""},
           {"repos", "repos"},
           {"v1", "v1"},
           {"oauth2", "oauth2"},
           {"utf-8", "utf-8"},
           {"42", "*"},
           {"7", "*"},
           {"page-2", "page-2"},
           {"build-12345", "build-*"},
           {"1.2.3", "*"},
           {"v1.2.3", "v*"},
           {"requests-2.31.0-py3-none-any.whl", "requests-*-py3-none-any.whl"},
           {"lodash-4.17.21.tgz", "lodash-*.tgz"},
           {"python3.11", "python*"},
           {"550e8400-e29b-41d4-a716-446655440000", "*"},
           {"item-550e8400-e29b-41d4-a716-446655440000.json", "item-*.json"},
           {"d670460b4b4aece5915caf5c68d12f560a9fe3e4", "*"},
           {"d670460", "*"},
           {"main.3f2a9bc1.js", "main.*.js"},
           {"sha256:9f86d081884c7d659a2feaa0c55ad015", "sha256:*"},
           {"decade", "decade"},
           {"effaced", "effaced"},
           {"01ARZ3NDEKTSV4RRFFQ69G5FAV", "*"},
           {"dGhpcyBpcyBhIHRlc3Q3MTI", "*"},
           {"a-very-long-name-of-words-only", "a-very-long-name-of-words-only"},
           {"%40scope%2Fname", "%40scope%2Fname"},
           {"a*b", "*"},
           {"a\xEF\xBF\xBD", "*"},
           {"a b", "*"},
           {".well-known", ".well-known"},
       }) {
    INFO(row.segment);
    CHECK(ShapeOfSegment(row.segment) == row.shape);
  }
}

TEST_CASE("paths become few globs") {
  CHECK(GlobsOf({"/user", "/repos/a/b"}) == Paths{"/repos/a/b", "/user"});
  CHECK(GlobsOf({"/"}) == Paths{"/"});
  CHECK(GlobsOf({"/items/1", "/items/2", "/items/3"}) == Paths{"/items/*"});
  // Many beside each other that go on alike.
  CHECK(GlobsOf({"/simple/a/", "/simple/b/", "/simple/c/", "/simple/d/", "/simple/e/"}) ==
        Paths{"/simple/*/"});
  // And that do not.
  CHECK(GlobsOf({"/r/a", "/r/b/x", "/r/c/y", "/r/d", "/r/e/z"}) == Paths{"/r/**"});
  CHECK(GlobsOf({"/r/a", "/r/b", "/r/c", "/r/d"}) == Paths{"/r/a", "/r/b", "/r/c", "/r/d"});
  // A star beside a name that it covers.
  CHECK(GlobsOf({"/t/1", "/t/latest"}) == Paths{"/t/*"});
  CHECK(GlobsOf({"/t/1", "/t/latest/x"}) == Paths{"/t/*", "/t/latest/x"});
}

TEST_CASE("a rule has at most so many globs, then any path") {
  Paths many;
  for (char c = 'a'; c <= 'z'; ++c) many.push_back(std::string("/") + c);
  CHECK(GlobsOf(many) == Paths{"/*"});
  many.emplace_back("/q/deep/er");
  CHECK(GlobsOf(many).empty());
  Paths spread;
  for (const char* top : {"/a", "/b", "/c", "/d", "/e"}) {
    for (const char* below : {"/p", "/q", "/r"}) spread.push_back(std::string(top) + below);
  }
  CHECK(GlobsOf(spread) == Paths{"/a/*", "/b/*", "/c/*", "/d/*", "/e/*"});
}

TEST_CASE("a path that was cut stands for all that begins like it") {
  PathShapes shapes;
  shapes.Add("/files/some/long-na", PathShapes::Length::kCut);
  CHECK(shapes.Globs() == Paths{"/files/some/**"});
}

TEST_CASE("a path's normalised form is covered, too") {
  const Paths globs = GlobsOf({"/a/./b//c", "/%7Euser/x;s=1"});
  for (const char* path : {"/a/./b//c", "/a/b/c", "/%7Euser/x;s=1", "/~user/x"}) {
    INFO(path);
    CHECK(Matches(globs, path));
  }
}

TEST_CASE("whatever is added is matched, in any order, by globs that can be read") {
  std::mt19937 random(4711);
  const Paths words = {"",     "a",      "b",   "repos", "v1",        "1.2.3", "..",
                       ".",    "%2e%2e", "c;d", "42",    "x*y",       "**",    "%zz",
                       "a\\b", "x?y",    "\"",  "\x7f",  "deadbeef1", "f-1",   "%41",
                       "é",    "latest", "%2F", "..%2Fx"};
  for (int round = 0; round < 300; ++round) {
    Paths paths;
    const size_t count = 1 + random() % 40;
    for (size_t i = 0; i < count; ++i) {
      std::string path;
      for (size_t depth = 1 + random() % 5; depth > 0; --depth) {
        path += "/" + words[random() % words.size()];
      }
      paths.push_back(path);
    }
    const Paths globs = GlobsOf(paths);
    CHECK(globs.size() <= PathShapes::kMaxGlobs);
    for (const auto& glob : globs) REQUIRE(PathGlob::Parse(glob).has_value());
    for (const auto& path : paths) {
      INFO(path);
      CHECK(Matches(globs, path));
      if (const auto normalized = NormalizePath(path)) CHECK(Matches(globs, *normalized));
    }
    std::shuffle(paths.begin(), paths.end(), random);
    CHECK(GlobsOf(paths) == globs);
  }
}

TEST_CASE("deep and very many paths stay bounded") {
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "/x";
  CHECK(GlobsOf({deep}).front().ends_with("/**"));
  PathShapes shapes;
  for (int i = 0; i < 10000; ++i)
    shapes.Add("/n" + std::to_string(i % 100) + "x/m" + std::to_string(i / 100) + "y");
  CHECK(shapes.Globs().empty());
}

}  // namespace
}  // namespace sallyport::policy
