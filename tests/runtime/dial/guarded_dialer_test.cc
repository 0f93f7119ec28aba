#include "runtime/dial/guarded_dialer.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <optional>
#include <tuple>

#include "tests/fakes/fake_resolver.h"

namespace sallyport::runtime {
namespace {

using namespace std::chrono_literals;

/// A listening loopback socket with a port of its own.
struct Listener {
  Listener() : socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(socket.get(), 16) == 0);
    socklen_t length = sizeof address;
    REQUIRE(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port = ntohs(address.sin_port);
  }
  UniqueFd socket;
  uint16_t port = 0;
};

struct Fixture {
  std::unique_ptr<Loop> loop = *Loop::Create();
  FakeResolver resolver{*loop};
  GuardedDialer dialer{*loop, resolver};

  Destination To(Host host, uint16_t port) {
    return {.host = std::move(host), .port = port, .filter = {}};
  }

  Result<Dialed> Dial(const Destination& destination, Transport transport = Transport::kTcp) {
    std::optional<Result<Dialed>> result;
    auto pending = dialer.Dial(destination, transport, [&](Result<Dialed> dialed) { result = std::move(dialed); });
    CHECK_FALSE(result);
    while (!result) REQUIRE(*loop->RunOnce());
    return *std::move(result);
  }
};

HostName Name(const char* text) { return *HostName::Parse(text); }
IpAddress Address(const char* text) { return *IpAddress::Parse(text); }

TEST_CASE("a name whose every address is special is refused, and no address is tried") {
  Fixture fixture;
  const Listener listener;
  fixture.resolver.Set("inside.example", {Address("127.0.0.1"), Address("10.0.0.1"), Address("169.254.169.254"),
                                          Address("::ffff:127.0.0.1"), Address("fd00:ec2::254")});
  const auto dialed = fixture.Dial(fixture.To(Name("inside.example"), listener.port));
  REQUIRE_FALSE(dialed);
  CHECK(dialed.error().code() == Code::kAddressRefused);
  CHECK(dialed.error().message().find("127.0.0.1 (loopback)") != std::string::npos);
  CHECK(dialed.error().message().find("169.254.169.254 (metadata)") != std::string::npos);
}

TEST_CASE("resolves_to opens private addresses to a name, but never loopback or metadata") {
  Fixture fixture;
  const Listener listener;
  fixture.resolver.Set("inside.example", {Address("127.0.0.1"), Address("169.254.169.254")});
  auto destination = fixture.To(Name("inside.example"), listener.port);
  destination.filter.classes = 0xffff;
  destination.filter.prefixes = {*Prefix::Parse("127.0.0.0/8"), *Prefix::Parse("169.254.0.0/16")};
  const auto dialed = fixture.Dial(destination);
  REQUIRE_FALSE(dialed);
  CHECK(dialed.error().code() == Code::kAddressRefused);
}

TEST_CASE("a target that the user wrote may be on loopback") {
  Fixture fixture;
  const Listener listener;
  auto destination = fixture.To(Address("127.0.0.1"), listener.port);
  CHECK_FALSE(fixture.Dial(destination));
  destination.chosen_by_user = true;
  const auto dialed = fixture.Dial(destination);
  REQUIRE(dialed);
  CHECK(dialed->peer.ToString() == "127.0.0.1:" + std::to_string(listener.port));
  CHECK(dialed->socket.valid());
}

TEST_CASE("after an address that refuses, the next one is tried") {
  Fixture fixture;
  const Listener listener;
  fixture.resolver.Set("two.example", {Address("127.0.0.9"), Address("127.0.0.1")});
  auto destination = fixture.To(Name("two.example"), listener.port);
  destination.chosen_by_user = true;
  const auto dialed = fixture.Dial(destination);
  REQUIRE(dialed);
  CHECK(dialed->peer.address == Address("127.0.0.1"));
}

TEST_CASE("a destination that refuses is said to refuse") {
  Fixture fixture;
  uint16_t port = 0;
  { port = Listener().port; }
  auto destination = fixture.To(Address("127.0.0.1"), port);
  destination.chosen_by_user = true;
  const auto dialed = fixture.Dial(destination);
  REQUIRE_FALSE(dialed);
  CHECK(dialed.error().code() == Code::kRefused);
}

TEST_CASE("a name that does not exist, or can't be resolved, is not dialled") {
  Fixture fixture;
  fixture.resolver.SetError("slow.example", Error(Code::kTimeout, "no resolver answered"));
  CHECK(fixture.Dial(fixture.To(Name("none.example"), 80)).error().code() == Code::kNotFound);
  CHECK(fixture.Dial(fixture.To(Name("slow.example"), 80)).error().code() == Code::kTimeout);
}

TEST_CASE("a dial that is given up calls nobody") {
  Fixture fixture;
  const Listener listener;
  auto destination = fixture.To(Address("127.0.0.1"), listener.port);
  destination.chosen_by_user = true;
  bool called = false;
  for (int turns = 0; turns < 3; ++turns) {  // Given up before, while and after the connect.
    CAPTURE(turns);
    auto pending = fixture.dialer.Dial(destination, Transport::kTcp, [&](Result<Dialed>) { called = turns < 2; });
    for (int i = 0; i < turns; ++i) REQUIRE(*fixture.loop->RunOnce());
    pending = {};
    auto tick = fixture.loop->After(1ms, [] {});
    REQUIRE(*fixture.loop->RunOnce());
  }
  CHECK_FALSE(called);
}

TEST_CASE("a UDP destination is checked like a TCP one") {
  Fixture fixture;
  CHECK(fixture.Dial(fixture.To(Address("10.0.0.1"), 53), Transport::kUdp).error().code() == Code::kAddressRefused);
  auto destination = fixture.To(Address("127.0.0.1"), 9);
  destination.chosen_by_user = true;
  CHECK(fixture.Dial(destination, Transport::kUdp));
}

// The host decides whether its processes may ping: where they may not, we say so.
TEST_CASE("a destination of pings is checked like a TCP one, and gets a ping socket or a reason") {
  Fixture fixture;
  CHECK(fixture.Dial(fixture.To(Address("10.0.0.1"), 0), Transport::kIcmp).error().code() ==
        Code::kAddressRefused);
  for (const auto& [text, family, protocol] : {std::tuple("127.0.0.1", AF_INET, int{IPPROTO_ICMP}),
                                               std::tuple("::1", AF_INET6, int{IPPROTO_ICMPV6})}) {
    const UniqueFd own(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, protocol));
    const int error = own.valid() ? 0 : errno;
    auto destination = fixture.To(Address(text), 0);
    destination.chosen_by_user = true;
    const auto dialed = fixture.Dial(destination, Transport::kIcmp);
    if (error == EACCES) {
      REQUIRE_FALSE(dialed);
      CHECK(dialed.error().code() == Code::kUnsupported);
      CHECK(dialed.error().message().find("net.ipv4.ping_group_range") != std::string::npos);
    } else if (dialed) {  // Not every host has ::1.
      int got = 0;
      socklen_t size = sizeof got;
      REQUIRE(getsockopt(dialed->socket.get(), SOL_SOCKET, SO_PROTOCOL, &got, &size) == 0);
      CHECK(got == protocol);
      sockaddr_storage peer;
      socklen_t length = sizeof peer;
      CHECK(getpeername(dialed->socket.get(), reinterpret_cast<sockaddr*>(&peer), &length) == 0);
    } else {
      CHECK(dialed.error().code() == Code::kUnreachable);
    }
  }
}

}  // namespace
}  // namespace sallyport::runtime
