#include "policy/address_names.h"

#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

using namespace std::chrono_literals;

const IpAddress kOne = IpAddress::V4(11, 0, 0, 1);
const IpAddress kTwo = *IpAddress::Parse("2600:11::2");
const Clock::time_point kStart = Clock::time_point() + 1h;

std::vector<HostName> Names(std::initializer_list<const char*> texts) {
  std::vector<HostName> names;
  for (const char* text : texts) names.push_back(Name(text));
  return names;
}

TEST_CASE("an address has the names that it was told for, the last first") {
  AddressNames table;
  CHECK(table.Lookup(kOne, kStart).empty());
  table.Learn(Name("a.example"), kOne, 30s, kStart);
  table.Learn(Name("b.example"), kOne, 30s, kStart);
  table.Learn(Name("b.example"), kTwo, 30s, kStart);
  CHECK(table.Lookup(kOne, kStart) == Names({"b.example", "a.example"}));
  table.Learn(Name("a.example"), kOne, 30s, kStart);
  CHECK(table.Lookup(kOne, kStart) == Names({"a.example", "b.example"}));
  CHECK(table.Lookup(kTwo, kStart) == Names({"b.example"}));
  // Another way to write the same address.
  CHECK(table.Lookup(*IpAddress::Parse("::ffff:11.0.0.1"), kStart).size() == 2);
}

TEST_CASE("a name leaves an address some time after its TTL, unless it is used") {
  AddressNames table({.addresses = 8, .names = 8, .grace = 10min});
  table.Learn(Name("a.example"), kOne, 60s, kStart);
  table.Learn(Name("b.example"), kOne, 1h, kStart);
  CHECK(table.Lookup(kOne, kStart + 10min).size() == 2);
  CHECK(table.Lookup(kOne, kStart + 19min).size() == 2);
  CHECK(table.Lookup(kOne, kStart + 29min) == Names({"b.example"}));
  CHECK(table.Lookup(kOne, kStart + 69min) == Names({"b.example"}));
  CHECK(table.Lookup(kOne, kStart + 79min).empty());
  CHECK(table.size() == 0);
}

TEST_CASE("addresses and their names are bounded: what was not used goes first") {
  AddressNames table({.addresses = 2, .names = 2, .grace = 10min});
  table.Learn(Name("a.example"), kOne, 60s, kStart);
  table.Learn(Name("b.example"), kOne, 60s, kStart);
  table.Learn(Name("c.example"), kOne, 60s, kStart);
  CHECK(table.Lookup(kOne, kStart) == Names({"c.example", "b.example"}));
  table.Learn(Name("a.example"), kTwo, 60s, kStart);
  table.Lookup(kOne, kStart);
  table.Learn(Name("a.example"), IpAddress::V4(11, 0, 0, 3), 60s, kStart);
  CHECK(table.size() == 2);
  CHECK(table.Lookup(kTwo, kStart).empty());
  CHECK(table.Lookup(kOne, kStart).size() == 2);
}

}  // namespace
}  // namespace sallyport::policy
