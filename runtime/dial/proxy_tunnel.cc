// One CONNECT, as steps; every end leaves through Finish():
//
//     Ask -> OnReadable … -> Judge -> Finish
//
// Limits: ConnectReply::kMaxHead of an answer; kPiece is looked at a turn.

#include "runtime/dial/proxy_tunnel.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "secrets/secret.h"

namespace sallyport::runtime {

namespace {

constexpr size_t kPiece = 4096;

}  // namespace

ProxyTunnel::ProxyTunnel(const ParentProxy& proxy, UniqueFd socket, std::string target,
                         std::function<void(Result<UniqueFd>)> done)
    : proxy_(proxy),
      socket_(std::move(socket)),
      target_(std::move(target)),
      done_(std::move(done)) {}

Result<std::unique_ptr<ProxyTunnel>> ProxyTunnel::Start(
    Loop& loop, const ParentProxy& proxy, UniqueFd socket, const Host& host, uint16_t port,
    std::function<void(Result<UniqueFd>)> done) {
  std::unique_ptr<ProxyTunnel> tunnel(new ProxyTunnel(
      proxy, std::move(socket), ToString(host) + ":" + std::to_string(port), std::move(done)));
  if (auto asked = tunnel->Ask(host, port); !asked) return tl::unexpected(std::move(asked).error());
  auto watch = loop.Watch(tunnel->socket_.get(), EPOLLIN,
                          [raw = tunnel.get()](uint32_t) { raw->OnReadable(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  tunnel->watch_ = *std::move(watch);
  return tunnel;
}

Status ProxyTunnel::Ask(const Host& host, uint16_t port) {
  std::string request = proxy_.Request(host, port);
  // A new socket's buffer takes far more than a request of at most a few KiB; one that does not is
  // of no use.
  const ssize_t sent = send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL);
  const bool whole = sent == static_cast<ssize_t>(request.size());
  secrets::WipeString(request);
  if (whole) return {};
  return Fail(Code::kProxyRefused,
              "the parent proxy " + proxy_.Where() + " does not take a request");
}

/// What is not the proxy's own stays in the socket: the answer is looked at first, and then so much
/// of it is taken as belongs to the head.
void ProxyTunnel::OnReadable() {
  std::array<char, kPiece> piece;
  const ssize_t seen = recv(socket_.get(), piece.data(), piece.size(), MSG_PEEK);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (seen <= 0) {
    const std::string why = seen == 0 ? "" : std::string(": ") + std::strerror(errno);
    return Finish(Fail(Code::kProxyRefused, "the parent proxy " + proxy_.Where() +
                                                " closed the connection without an answer to "
                                                "CONNECT " +
                                                target_ + why));
  }
  const size_t taken = reply_.Feed({piece.data(), static_cast<size_t>(seen)});
  if (recv(socket_.get(), piece.data(), taken, 0) != static_cast<ssize_t>(taken)) {
    return Finish(Fail(Code::kSystem, "the socket to the parent proxy lost what it had shown"));
  }
  if (reply_.state() == ConnectReply::State::kMore) return;
  if (auto status = Judge(); !status) return Finish(tl::unexpected(std::move(status).error()));
  watch_ = {};
  Finish(std::move(socket_));
}

Status ProxyTunnel::Judge() const {
  const std::string who = "the parent proxy " + proxy_.Where();
  if (reply_.state() == ConnectReply::State::kBroken) {
    return Fail(Code::kProxyRefused, who + " answers something that is not HTTP");
  }
  const int status = reply_.status();
  if (status >= 200 && status < 300) return {};
  if (status == 407) {
    std::string text = who + (proxy_.has_credentials()
                                  ? " does not accept the user and password that it is given (407)"
                                  : " asks for a user and password (407), and none is configured");
    if (!reply_.schemes().empty()) {
      text += "; it takes " + reply_.schemes() + ", and the gate can do Basic";
    }
    return Fail(Code::kProxyRefused, std::move(text));
  }
  return Fail(status == 504 ? Code::kProxyTimeout : Code::kProxyRefused,
              who + " answers " + std::to_string(status) + " to CONNECT " + target_);
}

void ProxyTunnel::Finish(Result<UniqueFd> result) {
  const auto done = std::move(done_);
  done(std::move(result));  // May destroy this.
}

}  // namespace sallyport::runtime
