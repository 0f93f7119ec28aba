#pragma once

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <list>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sallyport {

/// A proxy on a loopback port of its own that answers each CONNECT with `answer`, a piece a turn,
/// and leaves the tunnel at that.
class ProxyServer {
 public:
  explicit ProxyServer(Loop& loop)
      : loop_(loop), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    SALLYPORT_CHECK(bind(socket_.get(), raw, sizeof address) == 0);
    SALLYPORT_CHECK(listen(socket_.get(), 16) == 0);
    SALLYPORT_CHECK(getsockname(socket_.get(), raw, &length) == 0);
    port = ntohs(address.sin_port);
    watch_ = *loop.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
  }

  uint16_t port = 0;
  std::vector<std::string> answer;    ///< Pieces. None: it stays silent.
  bool hang_up = false;               ///< Once the answer is out.
  std::vector<std::string> requests;  ///< What whole heads it was sent.

 private:
  struct Client {
    UniqueFd socket;
    std::string head;
    size_t said = 0;
    Loop::Handle watch;
    Loop::Handle next;
  };

  void Accept() {
    UniqueFd socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) return;
    Client& client = clients_.emplace_back();
    client.socket = std::move(socket);
    client.watch =
        *loop_.Watch(client.socket.get(), EPOLLIN, [this, &client](uint32_t) { Read(client); });
  }

  void Read(Client& client) {
    std::array<char, 4096> piece;
    const ssize_t size = read(client.socket.get(), piece.data(), piece.size());
    if (size <= 0) {
      client.watch = {};
      return;
    }
    client.head.append(piece.data(), static_cast<size_t>(size));
    if (!client.head.ends_with("\r\n\r\n")) return;
    requests.push_back(client.head);
    Say(client);
  }

  void Say(Client& client) {
    if (client.said == answer.size()) {
      if (hang_up) shutdown(client.socket.get(), SHUT_RDWR);
      return;
    }
    const std::string& piece = answer[client.said++];
    SALLYPORT_CHECK(send(client.socket.get(), piece.data(), piece.size(), MSG_NOSIGNAL) >= 0);
    // The next loop turn's, so that the other side sees each piece on its own.
    client.next = loop_.After(std::chrono::milliseconds(1), [this, &client] { Say(client); });
  }

  Loop& loop_;
  UniqueFd socket_;
  std::list<Client> clients_;
  Loop::Handle watch_;
};

}  // namespace sallyport
