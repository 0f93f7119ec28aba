#include "runtime/api/ports.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>

namespace sallyport {
namespace {

using runtime::PublishedPort;

std::string Read(std::string_view text) {
  const auto port = ParsePort(text);
  return port ? Describe(*port) : "refused";
}

std::string WhyNot(std::string_view text) {
  const auto port = ParsePort(text);
  REQUIRE_FALSE(port);
  CHECK(port.error().code() == Code::kInvalid);
  return port.error().message();
}

bool Says(const std::string& message, const char* words) {
  return message.find(words) != std::string::npos;
}

PublishedPort Free(Transport transport, const char* address = "127.0.0.1") {
  return {.transport = transport, .host = {*IpAddress::Parse(address), 0}, .guest = 80};
}

TEST_CASE("a published port is read as it is meant") {
  CHECK(Read("8080:80") == "127.0.0.1:8080 leads to port 80 inside");
  CHECK(Read("8080:80/tcp") == "127.0.0.1:8080 leads to port 80 inside");
  CHECK(Read("0:53/udp") == "127.0.0.1:0 leads to port 53 inside (udp)");
  CHECK(Read("0.0.0.0:65535:1") == "0.0.0.0:65535 leads to port 1 inside");
  CHECK(Read("[::1]:8080:80") == "[::1]:8080 leads to port 80 inside");
  CHECK(Read("[::]:5353:53/udp") == "[::]:5353 leads to port 53 inside (udp)");
}

TEST_CASE("what is no published port is refused with what to write") {
  for (const char* text : {"",
                           "80",
                           ":",
                           ":80",
                           "80:",
                           "80:0",
                           "65536:80",
                           "80:65536",
                           "-1:80",
                           "+1:80",
                           " 1:80",
                           "80:80 ",
                           "0x50:80",
                           "a:b",
                           "80:80/",
                           "80:80/sctp",
                           "80:80/TCP",
                           "80/80",
                           "::1:8080:80",
                           "[127.0.0.1]:8080:80",
                           "localhost:8080:80",
                           "127.1:8080:80",
                           "1:2:3:4",
                           ":8080:80",
                           "[]:8080:80",
                           "[::1:8080:80",
                           "::1]:8080:80",
                           "[fe80::1%1]:8080:80"}) {
    CAPTURE(text);
    CHECK(Says(WhyNot(text), "write [BIND:]HOST:GUEST[/udp]"));
  }
  CHECK(Says(WhyNot("80:80/sctp"), "neither tcp nor udp"));
  CHECK(Says(WhyNot("localhost:8080:80"), "BIND is no address"));
  CHECK(Says(WhyNot("8080:99999"), "a number from 1 to 65535"));
}

TEST_CASE("ports are bound, those that are left open to any that is free") {
  std::vector<PublishedPort> bound;
  const auto sockets = BindPorts({Free(Transport::kTcp), Free(Transport::kUdp)}, bound);
  REQUIRE(sockets);
  REQUIRE(bound.size() == 2);
  CHECK(bound[0].host.port != 0);
  CHECK(bound[1].host.port != 0);
  int listens = 0;
  socklen_t size = sizeof listens;
  REQUIRE(getsockopt((*sockets)[0].get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0);
  CHECK(listens == 1);
}

TEST_CASE("a port that is in use, or on nobody's address, is refused with the next step") {
  for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
    std::vector<PublishedPort> bound;
    const auto sockets = BindPorts({Free(transport)}, bound);
    REQUIRE(sockets);
    std::vector<PublishedPort> again;
    const auto refused = BindPorts(bound, again);
    REQUIRE_FALSE(refused);
    CHECK(Says(refused.error().message(), "is in use; choose another, or 0 for any that is free"));
  }
  std::vector<PublishedPort> bound;
  const auto elsewhere = BindPorts({Free(Transport::kTcp, "192.0.2.7")}, bound);
  REQUIRE_FALSE(elsewhere);
  CHECK(Says(elsewhere.error().message(), "this host has no address 192.0.2.7"));
}

TEST_CASE("more ports than a sandbox takes are refused") {
  std::vector<PublishedPort> bound;
  const auto refused = BindPorts(std::vector<PublishedPort>(65, Free(Transport::kTcp)), bound);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Code::kLimit);
  CHECK(bound.empty());
}

}  // namespace
}  // namespace sallyport
