#pragma once

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/loop.h"
#include "policy/dns_message.h"

namespace sallyport::runtime {

/// A DNS server on loopback, over UDP and TCP, in the test's own loop. It answers by a function and
/// remembers every question.
class DnsServer {
 public:
  using Answerer = std::function<policy::dns::Answer(const policy::dns::Query&)>;

  DnsServer(Loop& loop, Answerer answerer) : loop_(loop), answerer_(std::move(answerer)) {
    // The port that is free for one transport may be another program's for the other.
    for (int tries = 0; !tcp_.valid() && tries < 100; ++tries) {
      udp_ = Bind(SOCK_DGRAM, 0);
      tcp_ = Bind(SOCK_STREAM, port());
    }
    SALLYPORT_CHECK(listen(tcp_.get(), 8) == 0);
    udp_watch_ = *loop.Watch(udp_.get(), EPOLLIN, [this](uint32_t) { OnDatagram(); });
    tcp_watch_ = *loop.Watch(tcp_.get(), EPOLLIN, [this](uint32_t) { OnConnection(); });
  }

  Endpoint endpoint() const { return {IpAddress::V4(127, 0, 0, 1), port()}; }

  std::vector<std::string> asked;  ///< "name TYPE" or "name TYPE tcp".
  size_t udp_limit = 4096;         ///< Longer answers are truncated over UDP.
  bool silent = false;

 private:
  static UniqueFd Bind(int type, uint16_t port) {
    UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const bool bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    return bound ? std::move(fd) : UniqueFd();
  }

  uint16_t port() const {
    sockaddr_in address = {};
    socklen_t length = sizeof address;
    getsockname(udp_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    return ntohs(address.sin_port);
  }

  std::string Answer(std::string_view message, const char* transport, size_t limit) {
    const auto parsed = policy::dns::ParseQuery(message);
    SALLYPORT_CHECK(parsed.outcome == policy::dns::ParsedQuery::Outcome::kQuery);
    asked.push_back(parsed.query.name + " " + policy::dns::TypeName(parsed.query.type) + transport);
    return policy::dns::BuildResponse(parsed.query, answerer_(parsed.query), limit);
  }

  void OnDatagram() {
    std::array<char, 4096> bytes;
    sockaddr_storage from = {};
    socklen_t length = sizeof from;
    const ssize_t count = recvfrom(udp_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (count <= 0) return;
    const std::string answer = Answer({bytes.data(), static_cast<size_t>(count)}, "", udp_limit);
    if (!silent) sendto(udp_.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
  }

  void OnConnection() {
    connections_.emplace_back(accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const int fd = connections_.back().get();
    watches_.push_back(*loop_.Watch(fd, EPOLLIN, [this, fd](uint32_t) {
      std::array<char, 4096> bytes;
      const ssize_t count = read(fd, bytes.data(), bytes.size());
      if (count <= 2) return;
      const std::string answer = Answer({bytes.data() + 2, static_cast<size_t>(count) - 2}, " tcp", 65535);
      std::string framed{static_cast<char>(answer.size() >> 8), static_cast<char>(answer.size() & 0xff)};
      framed += answer;
      SALLYPORT_CHECK(write(fd, framed.data(), framed.size()) == static_cast<ssize_t>(framed.size()));
    }));
  }

  Loop& loop_;
  Answerer answerer_;
  UniqueFd udp_;
  UniqueFd tcp_;
  std::vector<UniqueFd> connections_;
  Loop::Handle udp_watch_;
  Loop::Handle tcp_watch_;
  std::vector<Loop::Handle> watches_;
};

}  // namespace sallyport::runtime
