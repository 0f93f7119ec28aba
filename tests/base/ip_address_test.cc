#include "base/ip_address.h"

#include <catch2/catch.hpp>

namespace sallyport {
namespace {

TEST_CASE("an address is read in its strict form only, and written in the canonical one") {
  CHECK(IpAddress::Parse("192.0.2.1")->ToString() == "192.0.2.1");
  CHECK(IpAddress::Parse("2001:DB8:0:0::1")->ToString() == "2001:db8::1");
  CHECK(IpAddress::Parse("::ffff:192.0.2.1")->is_v6());
  for (const char* text : {"", "1", "1.2.3", "0x7f.1", "1.2.3.4.5", "256.1.1.1", "[::1]", "::1%lo",
                           "1.2.3.4 ", "1::2::3", "example.com"}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddress::Parse(text));
  }
  CHECK_FALSE(IpAddress::Parse(std::string_view("1.2.3.4\0", 8)));
}

TEST_CASE("an endpoint is read with and without a port") {
  CHECK(Endpoint::Parse("192.0.2.1:53")->ToString() == "192.0.2.1:53");
  CHECK(Endpoint::Parse("[2001:db8::1]:443")->ToString() == "[2001:db8::1]:443");
  CHECK(Endpoint::Parse("2001:db8::1", 53)->ToString() == "[2001:db8::1]:53");
  CHECK(Endpoint::Parse("192.0.2.1", 53)->port == 53);
  for (const char* text :
       {"192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[192.0.2.1]:1", "[::1",
        "[::1]x", "[::1]:", ":53", "name:53", "192.0.2.1:5 3", "192.0.2.1:-1"}) {
    CAPTURE(text);
    CHECK_FALSE(Endpoint::Parse(text));
  }
}

TEST_CASE("an endpoint survives the kernel's form") {
  for (const char* text : {"192.0.2.1:53", "[2001:db8::1]:443"}) {
    sockaddr_storage storage;
    const auto endpoint = *Endpoint::Parse(text);
    endpoint.ToSockaddr(storage);
    CHECK(Endpoint::FromSockaddr(storage) == endpoint);
  }
}

TEST_CASE("a prefix contains what shares its bits, and nothing of the other family") {
  const auto prefix = *Prefix::Parse("10.20.0.0/15");
  CHECK(prefix.Contains(*IpAddress::Parse("10.21.255.255")));
  CHECK_FALSE(prefix.Contains(*IpAddress::Parse("10.22.0.0")));
  CHECK_FALSE(prefix.Contains(*IpAddress::Parse("::ffff:10.20.0.1")));
  CHECK(prefix.Contains(*Prefix::Parse("10.21.0.0/16")));
  CHECK_FALSE(prefix.Contains(*Prefix::Parse("10.0.0.0/8")));
  CHECK(Prefix::Parse("0.0.0.0/0")->Contains(*IpAddress::Parse("255.255.255.255")));
  CHECK(Prefix::Parse("2001:db8::/33")->Contains(*IpAddress::Parse("2001:db8:7fff::1")));
  CHECK_FALSE(Prefix::Parse("2001:db8::/33")->Contains(*IpAddress::Parse("2001:db8:8000::1")));
  CHECK(Prefix::Parse("192.0.2.1")->ToString() == "192.0.2.1/32");
}

TEST_CASE("a prefix with bits past its length, or a wrong length, is refused") {
  for (const char* text :
       {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::1/64", "::/129", "/8"}) {
    CAPTURE(text);
    CHECK_FALSE(Prefix::Parse(text));
  }
}

}  // namespace
}  // namespace sallyport
