#include "base/address_class.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport {
namespace {

IpAddress Ip(const std::string& text) {
  const auto address = IpAddress::Parse(text);
  INFO(text);
  REQUIRE(address);
  return *address;
}

std::string ClassOf(const std::string& text) {
  return std::string(ToString(Classify(Ip(text))));
}

struct Row {
  const char* address;
  const char* expected;
};

void CheckRows(std::initializer_list<Row> rows) {
  for (const Row& row : rows) {
    INFO(row.address);
    CHECK(ClassOf(row.address) == row.expected);
  }
}

TEST_CASE("every special IPv4 range begins and ends where its registry says") {
  CheckRows({
      {"0.0.0.0", "reserved"},
      {"0.255.255.255", "reserved"},
      {"1.0.0.0", "public"},
      {"9.255.255.255", "public"},
      {"10.0.0.0", "private"},
      {"10.255.255.255", "private"},
      {"11.0.0.0", "public"},
      {"100.63.255.255", "public"},
      {"100.64.0.0", "private"},
      {"100.127.255.255", "private"},
      {"100.128.0.0", "public"},
      {"126.255.255.255", "public"},
      {"127.0.0.0", "loopback"},
      {"127.0.0.1", "loopback"},
      {"127.255.255.255", "loopback"},
      {"128.0.0.0", "public"},
      {"169.253.255.255", "public"},
      {"169.254.0.0", "link-local"},
      {"169.254.255.255", "link-local"},
      {"169.255.0.0", "public"},
      {"172.15.255.255", "public"},
      {"172.16.0.0", "private"},
      {"172.31.255.255", "private"},
      {"172.32.0.0", "public"},
      {"191.255.255.255", "public"},
      {"192.0.0.0", "reserved"},
      {"192.0.0.255", "reserved"},
      {"192.0.1.0", "public"},
      {"192.0.1.255", "public"},
      {"192.0.2.0", "documentation"},
      {"192.0.2.255", "documentation"},
      {"192.0.3.0", "public"},
      {"192.88.98.255", "public"},
      {"192.88.99.0", "reserved"},
      {"192.88.99.255", "reserved"},
      {"192.88.100.0", "public"},
      {"192.167.255.255", "public"},
      {"192.168.0.0", "private"},
      {"192.168.255.255", "private"},
      {"192.169.0.0", "public"},
      {"198.17.255.255", "public"},
      {"198.18.0.0", "reserved"},
      {"198.19.255.255", "reserved"},
      {"198.20.0.0", "public"},
      {"198.51.99.255", "public"},
      {"198.51.100.0", "documentation"},
      {"198.51.100.255", "documentation"},
      {"198.51.101.0", "public"},
      {"203.0.112.255", "public"},
      {"203.0.113.0", "documentation"},
      {"203.0.113.255", "documentation"},
      {"203.0.114.0", "public"},
      {"223.255.255.255", "public"},
      {"224.0.0.0", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.0", "reserved"},
      {"255.255.255.254", "reserved"},
      {"255.255.255.255", "broadcast"},
  });
}

TEST_CASE("the metadata services of clouds are metadata and their neighbours are not") {
  CheckRows({
      {"169.254.169.253", "link-local"},
      {"169.254.169.254", "metadata"},
      {"169.254.169.255", "link-local"},
      {"169.254.170.1", "link-local"},
      {"169.254.170.2", "metadata"},
      {"169.254.170.3", "link-local"},
      {"169.254.170.22", "link-local"},
      {"169.254.170.23", "metadata"},
      {"169.254.170.24", "link-local"},
      {"169.254.42.42", "metadata"},
      {"169.254.0.23", "metadata"},
      {"100.100.100.199", "private"},
      {"100.100.100.200", "metadata"},
      {"100.100.100.201", "private"},
      {"168.63.129.15", "public"},
      {"168.63.129.16", "metadata"},
      {"168.63.129.17", "public"},
      {"192.0.0.191", "reserved"},
      {"192.0.0.192", "metadata"},
      {"192.0.0.193", "reserved"},
      {"fd00:ec1:ffff::", "private"},
      {"fd00:ec2::", "metadata"},
      {"fd00:ec2::23", "metadata"},
      {"fd00:ec2::254", "metadata"},
      {"fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff", "metadata"},
      {"fd00:ec3::", "private"},
      {"fd20:ce::253", "private"},
      {"fd20:ce::254", "metadata"},
      {"fd20:ce::255", "private"},
      {"fd00:c1::a9fe:a9fe", "metadata"},
      {"fd00:c1::a9fe:a9ff", "private"},
      {"fd00:42::42", "metadata"},
      {"fd00:42::43", "private"},
      {"fd00:a9fe:a9fe::1", "metadata"},
      {"fd00:a9fe:a9fe::2", "private"},
      {"fd00:100::100:200", "metadata"},
      {"fd00:100::100:201", "private"},
      {"fe80::a9fe:a9fe", "metadata"},
      {"fe80::a9fe:a9ff", "link-local"},
  });
}

TEST_CASE("every special IPv6 range begins and ends where its registry says") {
  CheckRows({
      {"::", "reserved"},
      {"::1", "loopback"},
      {"100::", "reserved"},
      {"100::ffff:ffff:ffff:ffff", "reserved"},
      {"100:0:0:1::", "reserved"},
      {"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"},
      {"2000::", "public"},
      {"2001:1::1", "reserved"},
      {"2001:2::", "reserved"},
      {"2001:2:0:ffff:ffff:ffff:ffff:ffff", "reserved"},
      {"2001:10::", "reserved"},
      {"2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"},
      {"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"},
      {"2001:200::", "public"},
      {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "public"},
      {"2001:db8::", "documentation"},
      {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
      {"2001:db9::", "public"},
      {"2606:4700::1111", "public"},
      {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "public"},
      {"3fff::", "documentation"},
      {"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
      {"3fff:1000::", "public"},
      {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "public"},
      {"4000::", "reserved"},
      {"5f00::1", "reserved"},
      {"fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"},
      {"fc00::", "private"},
      {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"},
      {"fe00::", "reserved"},
      {"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"},
      {"fe80::", "link-local"},
      {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"},
      {"fec0::", "private"},
      {"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"},
      {"ff00::", "multicast"},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"},
  });
}

TEST_CASE("an IPv6 address that embeds IPv4 has the class of what it embeds") {
  CheckRows({
      {"::ffff:8.8.8.8", "public"},
      {"::ffff:10.0.0.1", "private"},
      {"::ffff:169.254.169.254", "metadata"},
      {"::ffff:127.0.0.1", "loopback"},
      {"::8.8.8.8", "public"},
      {"::127.0.0.1", "loopback"},
      {"::2", "reserved"},
      {"::ffff:0:8.8.8.8", "public"},
      {"::ffff:0:192.168.1.1", "private"},
      {"64:ff9b::8.8.8.8", "public"},
      {"64:ff9b::10.0.0.1", "private"},
      {"64:ff9b::169.254.169.254", "metadata"},
      {"64:ff9b:0:0:0:1:808:808", "reserved"},
      {"64:ff9b:1::8.8.8.8", "public"},
      {"64:ff9b:1::127.0.0.1", "loopback"},
      {"64:ff9b:1:7f00:0:100::", "loopback"},  // A /48: 127.0.0.1 around the byte that stays zero.
      {"64:ff9b:2::8.8.8.8", "reserved"},
      {"2002:808:808::1", "public"},
      {"2002:7f00:1::1", "loopback"},
      {"2002:a9fe:a9fe::", "metadata"},
      {"2002:c0a8:101::1", "private"},
      {"2001:0:808:808:0:0:f7f7:f7f7", "public"},    // Teredo: server and client 8.8.8.8.
      {"2001:0:808:808:0:0:80ff:fffe", "loopback"},  // Client 127.0.0.1, inverted.
      {"2001:0:a00:1:0:0:f7f7:f7f7", "private"},     // Server 10.0.0.1.
      {"2600::5efe:10.0.0.1", "private"},
      {"2600::200:5efe:127.0.0.1", "loopback"},
      {"2600::5efe:8.8.8.8", "public"},
      {"fe80::5efe:8.8.8.8", "link-local"},
      {"fe80::5efe:169.254.169.254", "metadata"},
  });
}

TEST_CASE("the groups' names are read and written") {
  for (const char* name : {"public", "private", "loopback", "link-local", "metadata", "multicast",
                           "broadcast", "documentation", "reserved"}) {
    const auto parsed = ParseAddressClass(name);
    REQUIRE(parsed);
    CHECK(ToString(*parsed) == name);
  }
  CHECK_FALSE(ParseAddressClass("Public"));
  CHECK_FALSE(ParseAddressClass(""));
}

TEST_CASE("a name's addresses are never loopback, link-local or metadata") {
  AddressFilter filter;
  filter.classes = 0xffff;
  filter.prefixes = {*Prefix::Parse("0.0.0.0/0"), *Prefix::Parse("::/0")};
  for (const char* refused : {"127.0.0.1", "::1", "169.254.1.1", "fe80::1", "169.254.169.254",
                              "168.63.129.16", "::ffff:127.0.0.1", "fd00:ec2::254"}) {
    INFO(refused);
    CHECK_FALSE(filter.AdmitsForName(Ip(refused)));
    CHECK(filter.Admits(Ip(refused)));
  }
}

TEST_CASE("a name's addresses are public ones and what the rule adds") {
  AddressFilter filter;
  CHECK(filter.AdmitsForName(Ip("8.8.8.8")));
  CHECK(filter.AdmitsForName(Ip("2606:4700::1111")));
  CHECK_FALSE(filter.AdmitsForName(Ip("10.20.0.1")));
  filter.prefixes = {*Prefix::Parse("10.20.0.0/16")};
  CHECK(filter.AdmitsForName(Ip("10.20.255.255")));
  CHECK(filter.AdmitsForName(Ip("::ffff:10.20.0.1")));
  CHECK_FALSE(filter.AdmitsForName(Ip("10.21.0.0")));
  CHECK_FALSE(filter.AdmitsForName(Ip("64:ff9b::10.20.0.1")));
  filter.classes = static_cast<uint16_t>(AddressClass::kPrivate);
  CHECK(filter.AdmitsForName(Ip("192.168.0.1")));
  CHECK(filter.AdmitsForName(Ip("8.8.8.8")));
}

TEST_CASE("a filter of prefixes alone admits nothing else") {
  AddressFilter filter;
  filter.classes = 0;
  filter.prefixes = {*Prefix::Parse("192.0.2.1"), *Prefix::Parse("2001:db8::/64")};
  CHECK(filter.Admits(Ip("192.0.2.1")));
  CHECK(filter.Admits(Ip("2001:db8::5")));
  CHECK_FALSE(filter.Admits(Ip("192.0.2.2")));
  CHECK_FALSE(filter.Admits(Ip("8.8.8.8")));
}

TEST_CASE("what an address embeds is found in every form") {
  CHECK(EmbeddedV4(Ip("8.8.8.8")).empty());
  CHECK(EmbeddedV4(Ip("2606:4700::1111")).empty());
  CHECK(EmbeddedV4(Ip("::ffff:192.0.2.1")) == std::vector{Ip("192.0.2.1")});
  CHECK(EmbeddedV4(Ip("2002:c000:201::")) == std::vector{Ip("192.0.2.1")});
  CHECK(Unmapped(Ip("::ffff:192.0.2.1")) == Ip("192.0.2.1"));
  CHECK(Unmapped(Ip("64:ff9b::192.0.2.1")) == Ip("64:ff9b::192.0.2.1"));
}

}  // namespace
}  // namespace sallyport
