#include "runtime/dial/own_address.h"

#include <catch2/catch.hpp>

#include "runtime/dial/guarded_dialer.h"
#include "tests/fakes/fake_resolver.h"

namespace sallyport::runtime {
namespace {

IpAddress Address(const char* text) {
  return *IpAddress::Parse(text);
}

TEST_CASE("addresses of this host are known as its own, others are not") {
  CHECK(IsOwnAddress(Address("127.0.0.1")));
  CHECK(IsOwnAddress(Address("127.77.0.1")));
  CHECK(IsOwnAddress(Address("::ffff:127.0.0.1")));
  CHECK(IsOwnAddress(Address("64:ff9b::7f00:1")));
  for (const char* other : {"192.0.2.1", "8.8.8.8", "255.255.255.255", "224.0.0.1", "2001:db8::1",
                            "2606:4700::1111", "ff02::1", "64:ff9b::808:808"}) {
    CAPTURE(other);
    CHECK_FALSE(IsOwnAddress(Address(other)));
  }
}

/// A dialler on a host with the addresses 11.0.0.7 and 2600::7, which connects to nothing.
struct Fixture {
  bool Refuses(const Destination& destination) {
    std::optional<Result<Dialed>> result;
    auto pending = dialer.Dial(destination, Transport::kUdp,
                               [&](Result<Dialed> dialed) { result = std::move(dialed); });
    while (!result) REQUIRE(*loop->RunOnce());
    if (*result) return false;
    message = result->error().message();
    return result->error().code() == Code::kAddressRefused;
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  FakeResolver resolver{*loop};
  GuardedDialer dialer{*loop, resolver, nullptr, [](const IpAddress& address) {
                         return address == Address("11.0.0.7") || address == Address("2600::7");
                       }};
  std::string message;
};

Destination To(Host host) {
  return {.host = std::move(host), .port = 443, .filter = {}};
}

TEST_CASE("a name whose only address is the host's own is refused, whatever the rule admits") {
  Fixture fixture;
  fixture.resolver.Set("own.example", {Address("11.0.0.7"), Address("2600::7")});
  Destination destination = To(*HostName::Parse("own.example"));
  CHECK(fixture.Refuses(destination));
  CHECK(fixture.message.find("11.0.0.7 (of this host itself)") != std::string::npos);
  destination.filter.prefixes = {*Prefix::Parse("11.0.0.7/32"), *Prefix::Parse("2600::/16")};
  CHECK(fixture.Refuses(destination));
  destination.chosen_by_user = true;
  CHECK_FALSE(fixture.Refuses(destination));
}

TEST_CASE("an address of the host's own is granted only by a rule with exactly this address") {
  Fixture fixture;
  for (const char* address : {"11.0.0.7", "2600::7"}) {
    CAPTURE(address);
    Destination destination = To(Address(address));
    CHECK(fixture.Refuses(destination));
    destination.filter.prefixes = {*Prefix::Parse("0.0.0.0/0"), *Prefix::Parse("::/0"),
                                   *Prefix::Parse("11.0.0.6/31"), *Prefix::Parse("2600::6/127")};
    CHECK(fixture.Refuses(destination));
    destination.filter.prefixes.push_back(
        Prefix(Address(address), static_cast<unsigned>(Address(address).bytes().size() * 8)));
    CHECK_FALSE(fixture.Refuses(destination));
    destination.filter.names_none = true;
    CHECK(fixture.Refuses(destination));
  }
}

}  // namespace
}  // namespace sallyport::runtime
