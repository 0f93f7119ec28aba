#include "runtime/dial/split_resolver.h"

#include <catch2/catch.hpp>
#include <optional>

#include "tests/fakes/fake_resolver.h"

namespace sallyport::runtime {
namespace {

HostName Name(const std::string& text) { return *HostName::Parse(text); }
std::vector<Endpoint> Servers(const std::string& text) { return {*Endpoint::Parse(text, 53)}; }

struct Fixture {
  std::unique_ptr<Loop> loop = *Loop::Create();
  FakeResolver usual{*loop};
  FakeResolvers others;
  SplitResolver split{usual, MakeFakes(*loop, others)};

  void Resolve(const HostName& name) {
    bool done = false;
    auto pending = split.Resolve(name, [&](auto) { done = true; });
    while (!done) REQUIRE(*loop->RunOnce());
  }
};

TEST_CASE("a name is asked of the servers that it was assigned last, others of the usual ones") {
  Fixture fixture;
  REQUIRE(fixture.split.Assign(Name("a.example"), Servers("10.0.0.1")));
  REQUIRE(fixture.split.Assign(Name("b.example"), Servers("10.0.0.2")));
  REQUIRE(fixture.split.Assign(Name("b.example"), Servers("10.0.0.1")));
  REQUIRE(fixture.split.Assign(Name("c.example"), {}));
  for (const char* name : {"a.example", "b.example", "c.example"}) fixture.Resolve(Name(name));
  CHECK(fixture.others["10.0.0.1:53"]->asked == std::vector<std::string>{"a.example", "b.example"});
  CHECK(fixture.others["10.0.0.2:53"]->asked.empty());
  CHECK(fixture.usual.asked == std::vector<std::string>{"c.example"});
  CHECK(fixture.split.assigned() == std::vector<HostName>{Name("a.example"), Name("b.example")});

  REQUIRE(fixture.split.Assign(Name("a.example"), {}));
  fixture.Resolve(Name("a.example"));
  CHECK(fixture.usual.asked.back() == "a.example");
  CHECK(fixture.others.size() == 2);  // Equal lists are one.
}

TEST_CASE("a name whose servers are one list too many is asked of nobody") {
  Fixture fixture;
  for (size_t i = 0; i < SplitResolver::kMaxLists; ++i) {
    REQUIRE(fixture.split.For(Servers("10.0.1." + std::to_string(i))));
  }
  const auto refused = fixture.split.Assign(Name("a.example"), Servers("10.0.0.1"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Code::kLimit);
  fixture.Resolve(Name("a.example"));
  CHECK(fixture.usual.asked.empty());
  CHECK(fixture.others.at("")->asked == std::vector<std::string>{"a.example"});
  CHECK(fixture.split.Assign(Name("a.example"), Servers("10.0.1.1")));
}

TEST_CASE("no name that was assigned is forgotten for another") {
  Fixture fixture;
  for (size_t i = 0; i < SplitResolver::kMaxNames; ++i) {
    REQUIRE(fixture.split.Assign(Name("n" + std::to_string(i) + ".example"), Servers("10.0.0.1")));
  }
  const auto refused = fixture.split.Assign(Name("more.example"), Servers("10.0.0.1"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Code::kLimit);
  CHECK(fixture.split.Assign(Name("usual.example"), {}));
  fixture.Resolve(Name("n0.example"));
  CHECK(fixture.usual.asked.empty());
}

}  // namespace
}  // namespace sallyport::runtime
