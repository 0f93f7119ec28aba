#include "policy/name_table.h"

#include <catch2/catch.hpp>
#include <set>

namespace sallyport::policy {
namespace {

using Kind = NameTable::Kind;
using Family = NameTable::Family;
using std::chrono::seconds;

HostName Name(const std::string& text) {
  return *HostName::Parse(text);
}
HostName Numbered(int number) {
  return Name("n" + std::to_string(number) + ".example");
}
const Clock::time_point kStart{};

TEST_CASE("a name has one address while it is in use, and each name its own") {
  NameTable table({}, 1);
  std::set<IpAddress> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto address = table.Assign(Numbered(i), Kind::kGranted, Family::kV4, kStart);
    REQUIRE(address);
    CHECK(table.Assign(Numbered(i), Kind::kGranted, Family::kV4, kStart) == address);
    CHECK(seen.insert(*address).second);
    CHECK(Prefix::Parse("198.18.0.0/15")->Contains(*address));
    CHECK(table.IsSynthetic(*address));
    REQUIRE(table.Lookup(*address));
    CHECK(table.Lookup(*address)->name == Numbered(i));
  }
}

TEST_CASE("both families of a name lead to it") {
  NameTable table({}, 0xbeef);
  const auto v4 = table.Assign(Name("a.example"), Kind::kGranted, Family::kV4, kStart);
  const auto v6 = table.Assign(Name("a.example"), Kind::kGranted, Family::kV6, kStart);
  REQUIRE((v4 && v6));
  CHECK(Prefix::Parse("2001:2:0:beef::/64")->Contains(*v6));
  CHECK(table.Lookup(*v6)->name == Name("a.example"));
  CHECK(table.size() == 1);
}

TEST_CASE("an address that belongs to no name is nobody's") {
  NameTable table({}, 7);
  table.Assign(Name("a.example"), Kind::kGranted, Family::kV4, kStart);
  for (const char* text :
       {"198.18.0.0", "198.19.255.255", "8.8.8.8", "2001:2::1", "2001:2:0:7:1::1", "::"}) {
    INFO(text);
    CHECK(table.Lookup(*IpAddress::Parse(text)) == nullptr);
  }
}

TEST_CASE("the least recently used name goes first, and its address leads nowhere") {
  NameTable table({.granted = 2, .unlisted = 2}, 1);
  const auto a = table.Assign(Name("a.example"), Kind::kGranted, Family::kV4, kStart);
  const auto b = table.Assign(Name("b.example"), Kind::kGranted, Family::kV4, kStart);
  table.Lookup(*a);
  const auto c = table.Assign(Name("c.example"), Kind::kGranted, Family::kV4, kStart);
  REQUIRE(c);
  CHECK(table.Lookup(*b) == nullptr);
  CHECK(table.Lookup(*a)->name == Name("a.example"));
  CHECK(*c != *b);
}

TEST_CASE("a pinned name keeps its address") {
  NameTable table({.granted = 2, .unlisted = 2}, 1);
  const auto a = table.Assign(Name("a.example"), Kind::kGranted, Family::kV4, kStart);
  table.Pin(Name("a.example"));
  table.Pin(Name("a.example"));
  for (int i = 0; i < 10; ++i)
    REQUIRE(table.Assign(Numbered(i), Kind::kGranted, Family::kV4, kStart));
  CHECK(table.Lookup(*a)->name == Name("a.example"));
  table.Pin(Numbered(9));
  CHECK_FALSE(table.Assign(Name("late.example"), Kind::kGranted, Family::kV4, kStart));
  table.Unpin(Name("a.example"));
  CHECK_FALSE(table.Assign(Name("late.example"), Kind::kGranted, Family::kV4, kStart));
  table.Unpin(Name("a.example"));
  CHECK(table.Assign(Name("late.example"), Kind::kGranted, Family::kV4, kStart));
  table.Unpin(Name("unknown.example"));
}

TEST_CASE("unlisted names displace no granted one") {
  NameTable table({.granted = 4, .unlisted = 2}, 1);
  const auto granted = table.Assign(Name("a.example"), Kind::kGranted, Family::kV4, kStart);
  for (int i = 0; i < 100; ++i) {
    const auto address = table.Assign(Numbered(i), Kind::kUnlisted, Family::kV4, kStart);
    REQUIRE(address);
    CHECK(table.Lookup(*address)->kind == Kind::kUnlisted);
  }
  CHECK(table.Lookup(*granted)->name == Name("a.example"));
  CHECK(table.size() == 3);
}

TEST_CASE("a name that becomes granted says so") {
  NameTable table({}, 1);
  const auto before = table.Assign(Name("a.example"), Kind::kUnlisted, Family::kV4, kStart);
  const auto after = table.Assign(Name("a.example"), Kind::kGranted, Family::kV4, kStart);
  REQUIRE((before && after));
  CHECK(table.Lookup(*after)->kind == Kind::kGranted);
}

TEST_CASE("an address is not given to another name before its quarantine is over") {
  NameTable table({.granted = 1, .unlisted = 1}, 3);
  auto now = kStart;
  std::set<IpAddress> seen;
  // Every address of the range once, then none is left.
  std::optional<IpAddress> address;
  while ((address = table.Assign(Numbered(static_cast<int>(seen.size())), Kind::kUnlisted,
                                 Family::kV4, now))) {
    REQUIRE(seen.insert(*address).second);
  }
  CHECK(seen.size() > 100'000);
  now += seconds(59);
  CHECK_FALSE(table.Assign(Name("early.example"), Kind::kUnlisted, Family::kV4, now));
  now += seconds(2);
  const auto late = table.Assign(Name("late.example"), Kind::kUnlisted, Family::kV4, now);
  REQUIRE(late);
  CHECK(seen.contains(*late));
}

}  // namespace
}  // namespace sallyport::policy
