#include "base/no_proxy.h"

#include <catch2/catch.hpp>

namespace sallyport {
namespace {

Host At(const char* text) {
  return *ParseHost(text);
}

TEST_CASE("entries of a policy mean names exactly, names below, addresses, and ports of them") {
  struct Row {
    const char* entry;
    const char* host;
    uint16_t port;
    bool matches;
  };
  const Row rows[] = {
      {"api.corp.example", "api.corp.example", 443, true},
      {"api.corp.example", "API.corp.example.", 443, true},
      {"api.corp.example", "x.api.corp.example", 443, false},
      {"api.corp.example", "corp.example", 443, false},
      {"*.corp.example", "api.corp.example", 443, true},
      {"*.corp.example", "a.b.corp.example", 443, true},
      {"*.corp.example", "corp.example", 443, false},
      {"*.corp.example", "evilcorp.example", 443, false},
      {"api.corp.example:8443", "api.corp.example", 8443, true},
      {"api.corp.example:8443", "api.corp.example", 443, false},
      {"*.corp.example:8443", "api.corp.example", 8443, true},
      {"10.0.0.0/8", "10.1.2.3", 443, true},
      {"10.0.0.0/8", "11.1.2.3", 443, false},
      {"10.0.0.0/8", "[::ffff:10.1.2.3]", 443, true},
      {"10.0.0.0/8", "ten.example", 443, false},
      {"10.1.2.3", "10.1.2.3", 22, true},
      {"10.1.2.3", "10.1.2.4", 22, false},
      {"10.1.2.3:22", "10.1.2.3", 22, true},
      {"10.1.2.3:22", "10.1.2.3", 23, false},
      {"fd00::/8", "[fd12::1]", 443, true},
      {"[fd12::1]", "[fd12::1]", 443, true},
      {"fd12::1", "[fd12::1]", 443, true},
      {"[fd12::1]:80", "[fd12::1]", 443, false},
      {"[fd12::1]:80", "[fd12::1]", 80, true},
      {"*", "anything.example", 1, true},
      {"*", "192.0.2.1", 1, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.entry, row.host, row.port);
    NoProxy list;
    REQUIRE(list.Add(row.entry));
    CHECK(list.Matches(At(row.host), row.port) == row.matches);
  }
  CHECK_FALSE(NoProxy().Matches(At("anything.example"), 443));
}

TEST_CASE("what is no entry of a policy is refused") {
  for (const char* entry : {"", ".corp.example", "a.*.example", "10.0.0.1/8", "corp.example:",
                            "corp.example:0", "corp.example:65536", "corp.example:http",
                            "http://corp.example", "a b", "[fd12::1", "*:443", "10.0.0.0/33"}) {
    CAPTURE(entry);
    CHECK_FALSE(NoProxy().Add(entry));
  }
}

TEST_CASE("the variable is read as programs read it, and what is no entry is passed over") {
  NoProxy list;
  list.AddVariable(
      "localhost, corp.example,.inside.example  10.0.0.0/8,,one.example:8080,bad entry!,"
      "*.deep.example,::1");
  CHECK(list.Matches(At("localhost"), 80));
  CHECK(list.Matches(At("corp.example"), 80));
  CHECK(list.Matches(At("a.b.corp.example"), 80));
  CHECK_FALSE(list.Matches(At("evilcorp.example"), 80));
  CHECK(list.Matches(At("inside.example"), 80));
  CHECK(list.Matches(At("a.inside.example"), 80));
  CHECK(list.Matches(At("10.255.0.1"), 80));
  CHECK(list.Matches(At("one.example"), 8080));
  CHECK(list.Matches(At("sub.one.example"), 8080));
  CHECK_FALSE(list.Matches(At("one.example"), 80));
  CHECK(list.Matches(At("a.deep.example"), 80));
  CHECK_FALSE(list.Matches(At("deep.example"), 80));
  CHECK(list.Matches(At("[::1]"), 80));
  CHECK_FALSE(list.Matches(At("other.example"), 80));
  list.AddVariable("*");
  CHECK(list.Matches(At("other.example"), 80));
}

TEST_CASE("the number of entries is bounded") {
  NoProxy list;
  std::string text;
  for (size_t i = 0; i < 2 * NoProxy::kMaxEntries; ++i)
    text += "h" + std::to_string(i) + ".example,";
  list.AddVariable(text);
  CHECK(list.Matches(At("h0.example"), 80));
  CHECK_FALSE(list.Matches(At("h8000.example"), 80));
  CHECK(list.Add("late.example").error().code() == Code::kLimit);
}

}  // namespace
}  // namespace sallyport
