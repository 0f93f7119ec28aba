#include "runtime/warden/control_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace sallyport::runtime {
namespace {

// A command sends its request at once; more than these at a time are not commands.
constexpr size_t kMaxConnections = 16;
constexpr std::chrono::seconds kRequestTimeout{5};
// Whom the kernel names in place of an id that our user namespace has none for: anybody.
constexpr uid_t kAnybody = 65534;

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::Create(Loop& loop, UniqueFd listener,
                                                             uid_t owner, Handler handler) {
  std::unique_ptr<ControlServer> server(
      new ControlServer(loop, std::move(listener), owner, std::move(handler)));
  auto watch = loop.Watch(server->listener_.get(), EPOLLIN,
                          [self = server.get()](uint32_t) { self->Accept(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  server->watch_ = *std::move(watch);
  server->KeepSpare();
  return server;
}

void ControlServer::Accept() {
  UniqueFd socket = AcceptOne();
  if (!socket.valid() || connections_.size() >= kMaxConnections || !IsOwner(socket.get())) {
    socket.reset();
    return KeepSpare();
  }
  Add(std::move(socket));
}

/// A connection that can't be accepted would be reported again and again.
UniqueFd ControlServer::AcceptOne() {
  const auto accept = [this] {
    return UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  };
  UniqueFd socket = accept();
  if (socket.valid() || (errno != EMFILE && errno != ENFILE)) return socket;
  for (UniqueFd& spare : spare_) spare.reset();
  return accept();
}

void ControlServer::KeepSpare() {
  for (UniqueFd& spare : spare_) {
    if (!spare.valid()) spare = UniqueFd(fcntl(listener_.get(), F_DUPFD_CLOEXEC, 0));
  }
}

void ControlServer::Drop(Connections::iterator connection) {
  connections_.erase(connection);
  KeepSpare();
}

/// An abstract name is open to everybody.
bool ControlServer::IsOwner(int socket) const {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == owner_ &&
         peer.uid != kAnybody;
}

void ControlServer::Add(UniqueFd socket) {
  const auto connection = connections_.insert(connections_.end(), Connection{});
  connection->socket = std::move(socket);
  auto watch = loop_.Watch(connection->socket.get(), EPOLLIN | EPOLLRDHUP,
                           [this, connection](uint32_t) { Serve(connection); });
  if (!watch) return Drop(connection);
  connection->watch = *std::move(watch);
  connection->deadline = loop_.After(kRequestTimeout, [this, connection] { Drop(connection); });
}

void ControlServer::Serve(Connections::iterator connection) {
  UniqueFd socket = std::move(connection->socket);
  connections_.erase(connection);
  if (auto packet = ReceiveControl(socket.get())) Answer(socket.get(), *std::move(packet));
  socket.reset();
  KeepSpare();
}

void ControlServer::Answer(int socket, ControlPacket packet) const {
  const auto request = ControlRequest::Decode(packet.bytes);
  const ControlReply reply = request
                                 ? handler_(*request, std::move(packet.attached))
                                 : ControlReply{.done = false, .text = "not a request", .rows = {}};
  // One that does not fit into the socket's buffer was not asked for by our own commands.
  (void)SendControl(socket, reply.Encode(), UniqueFd()).has_value();
}

}  // namespace sallyport::runtime
