#include "tap_jobs.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "fixture.h"

namespace sallyport::netstack {
namespace {

// Whether FD could be connected, and not from the address that is good for the link only.
bool HasGlobalAddress(const UniqueFd& fd) {
  sockaddr_in6 name{};
  socklen_t size = sizeof name;
  return fd.valid() && getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0 &&
         !IN6_IS_ADDR_LINKLOCAL(&name.sin6_addr);
}

}  // namespace

UniqueFd GuestSocket(Ip ip, int type, uint16_t port) {
  UniqueFd fd(socket(ip == Ip::kV4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
  sockaddr_storage address;
  const socklen_t size = Endpoint{Far(ip), port}.ToSockaddr(address);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  return fd;
}

int AskOverUdp(Ip ip, size_t size) {
  const UniqueFd fd = GuestSocket(ip, SOCK_DGRAM, 53);
  const std::string question(size, 'q');
  std::string answer(size + 1, '\0');
  if (send(fd.get(), question.data(), size, 0) != static_cast<ssize_t>(size)) return 1;
  const ssize_t got = recv(fd.get(), answer.data(), answer.size(), 0);
  return got == static_cast<ssize_t>(size) && answer.substr(0, size) == question ? 0 : 2;
}

// The kernel says by netlink when it has got something: an address that was verified, a route.
int AskOverUdpOnceConfigured() {
  const UniqueFd news(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;
  if (bind(news.get(), reinterpret_cast<sockaddr*>(&groups), sizeof groups) != 0) return 10;
  while (!HasGlobalAddress(GuestSocket(Ip::kV6, SOCK_DGRAM, 53))) {
    std::vector<uint8_t> message(8192);
    if (recv(news.get(), message.data(), message.size(), 0) < 0) return 11;
  }
  return AskOverUdp(Ip::kV6, 100);
}

int WaitForGuest(Loop& loop, pid_t guest, const std::function<void()>& after_turn) {
  int status = -1;
  const auto limit = Clock::now() + std::chrono::seconds(60);
  while (waitpid(guest, &status, WNOHANG) == 0) {
    if (Clock::now() > limit) {
      kill(guest, SIGKILL);
      waitpid(guest, &status, 0);
      return -1;
    }
    const Loop::Handle guard = loop.After(std::chrono::milliseconds(20), [] {});
    REQUIRE(loop.RunOnce());
    after_turn();
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace sallyport::netstack
