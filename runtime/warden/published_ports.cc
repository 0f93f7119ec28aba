#include "runtime/warden/published_ports.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "runtime/warden/inbound_datagrams.h"
#include "runtime/warden/inbound_stream.h"

namespace sallyport::runtime {
namespace {

// Taken in one turn, so that a busy port leaves others theirs; the rest is reported again.
constexpr int kAcceptedATurn = 32;
constexpr int kDatagramsATurn = 64;
// After which accepting is tried again when there was no descriptor or memory for it.
constexpr auto kPause = std::chrono::milliseconds(100);

std::optional<int> SocketOption(const UniqueFd& socket, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(socket.get(), SOL_SOCKET, option, &value, &size) != 0) return std::nullopt;
  return value;
}

/// What SOCKET is, if it is one that can be published.
Result<PublishedPort> Examine(const UniqueFd& socket, uint16_t guest) {
  PublishedPort port;
  port.guest = guest;
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  const bool bound = socket.valid() && guest != 0 &&
                     getsockname(socket.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0;
  const auto endpoint = bound ? Endpoint::FromSockaddr(name) : std::nullopt;
  const auto type = SocketOption(socket, SO_TYPE);
  const bool listens = SocketOption(socket, SO_ACCEPTCONN) == 1;
  if (!endpoint || endpoint->port == 0 || (type == SOCK_STREAM && !listens) ||
      (type != SOCK_STREAM && type != SOCK_DGRAM)) {
    return Fail(Code::kInvalid, "a published port is a listening TCP or a bound UDP socket");
  }
  port.host = *endpoint;
  port.transport = type == SOCK_STREAM ? Transport::kTcp : Transport::kUdp;
  return port;
}

/// A client that is gone without a word is noticed after the kernel's two hours, not never.
void KeepAlive(const UniqueFd& socket) {
  const int on = 1;
  (void)setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

PublishedPorts::~PublishedPorts() {
  ports_.clear();  // Nobody comes in while the rest is told.
  inbound_.clear();
}

Result<PublishedPort> PublishedPorts::Add(UniqueFd socket, uint16_t guest) {
  if (ports_.size() >= kMaxPublishedPorts) {
    return Fail(Code::kLimit,
                std::to_string(kMaxPublishedPorts) + " ports at most lead into a sandbox");
  }
  auto facts = Examine(socket, guest);
  if (!facts) return facts;
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("fcntl"));
  }
  Port& port = ports_.emplace_back();
  port.facts = *facts;
  port.socket = std::move(socket);
  if (open_) {
    if (auto watched = Watch(port); !watched) {
      ports_.pop_back();
      return tl::unexpected(std::move(watched).error());
    }
  }
  return facts;
}

std::vector<PublishedPort> PublishedPorts::Remove(Transport transport, uint16_t number,
                                                  const std::optional<IpAddress>& address) {
  std::vector<PublishedPort> removed;
  for (auto port = ports_.begin(); port != ports_.end();) {
    const PublishedPort facts = port->facts;
    if (facts.transport != transport || facts.host.port != number ||
        (address && facts.host.address != *address)) {
      ++port;
      continue;
    }
    for (auto& [stream, inbound] : inbound_) {
      const PublishedPort& of = inbound->facts().port;
      if (of.host == facts.host && of.transport == transport) inbound->Cut("the port was removed");
    }
    port = ports_.erase(port);
    removed.push_back(facts);
  }
  return removed;
}

Status PublishedPorts::Open() {
  open_ = true;
  for (Port& port : ports_) {
    if (auto watched = Watch(port); !watched) return watched;
  }
  return {};
}

Status PublishedPorts::Watch(Port& port) {
  auto watch =
      services_.loop.Watch(port.socket.get(), EPOLLIN, [this, &port](uint32_t) { OnReady(port); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  port.watch = *std::move(watch);
  return {};
}

void PublishedPorts::OnReady(Port& port) {
  port.facts.transport == Transport::kTcp ? Accept(port) : Receive(port);
}

void PublishedPorts::Accept(Port& port) {
  for (int i = 0; i < kAcceptedATurn; ++i) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    UniqueFd socket(accept4(port.socket.get(), reinterpret_cast<sockaddr*>(&name), &size,
                            SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid() && (errno == ECONNABORTED || errno == EINTR)) continue;
    if (!socket.valid() && errno != EAGAIN) return Pause(port);
    if (!socket.valid()) return;
    const auto client = Endpoint::FromSockaddr(name);
    if (client) OnAccepted(port, std::move(socket), *client);
  }
}

void PublishedPorts::OnAccepted(const Port& port, UniqueFd socket, const Endpoint& client) {
  if (!MayEnter(port.facts, client)) return guest::ResetSocket(std::move(socket));
  KeepAlive(socket);
  const uint32_t stream = NextStream();
  auto inbound = std::make_unique<InboundStream>(
      services_, Inbound::Facts{.stream = stream, .port = port.facts, .client = client},
      std::move(socket), [this] {
        --streams_;
        OnOver();
      });
  ++streams_;
  auto* started = inbound.get();
  inbound_.emplace(stream, std::move(inbound));
  started->Start();
}

bool PublishedPorts::MayEnter(const PublishedPort& port, const Endpoint& client) {
  if (!services_.audit.healthy()) return false;
  const bool crowded = services_.agent.full();
  if (streams_ < kMaxStreams && !crowded) return true;
  AuditRecord record = InboundRecord(port, client);
  record.reason = Reason::kLimit;
  record.detail = crowded
                      ? "the sandbox's agent does not keep up"
                      : std::to_string(kMaxStreams) + " connections to published ports are open";
  services_.audit.Write(record);
  return false;
}

void PublishedPorts::Receive(Port& port) {
  std::array<char, guest::kMaxPayload> buffer;
  for (int i = 0; i < kDatagramsATurn; ++i) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    const ssize_t got = recvfrom(port.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&name), &size);
    if (got < 0) return;
    const auto client = Endpoint::FromSockaddr(name);
    // Each new client costs frames, which must not pile up for an agent that does not read.
    if (!client || !services_.audit.healthy() || services_.agent.full()) continue;
    ClientOf(port, *client)->OnClient({buffer.data(), static_cast<size_t>(got)});
  }
}

InboundDatagrams* PublishedPorts::ClientOf(Port& port, const Endpoint& client) {
  if (const auto known = port.clients.find(client); known != port.clients.end()) {
    return known->second;
  }
  MakeRoomForClient();
  const uint32_t stream = NextStream();
  auto inbound = std::make_unique<InboundDatagrams>(
      services_, Inbound::Facts{.stream = stream, .port = port.facts, .client = client},
      port.socket.get(), [this, &port, client] {
        port.clients.erase(client);
        OnOver();
      });
  auto* started = inbound.get();
  port.clients.emplace(client, started);
  inbound_.emplace(stream, std::move(inbound));
  started->Start();
  return started;
}

void PublishedPorts::MakeRoomForClient() {
  size_t clients = 0;
  InboundDatagrams* oldest = nullptr;
  for (const Port& port : ports_) {
    clients += port.clients.size();
    for (const auto& [client, datagrams] : port.clients) {
      if (oldest == nullptr || datagrams->last() < oldest->last()) oldest = datagrams;
    }
  }
  if (clients >= kMaxClients) oldest->Cut("another client took its place");
}

void PublishedPorts::Pause(Port& port) {
  port.watch = {};
  port.pause = services_.loop.After(kPause, [this, &port] {
    if (!Watch(port)) Pause(port);
  });
}

/// Used again after two thousand million others only, when the agent has long forgotten it.
uint32_t PublishedPorts::NextStream() {
  do {
    next_stream_ = std::max(next_stream_ + 1, kFirstStream);
  } while (inbound_.contains(next_stream_));
  return next_stream_;
}

Status PublishedPorts::OnFrame(const guest::Frame& frame) {
  const auto found = inbound_.find(frame.stream);
  if (found == inbound_.end()) return {};  // Sent before the agent knew.
  return found->second->OnFrame(frame);
}

void PublishedPorts::OnAgentDrained() {
  if (inbound_.empty()) return;
  // Not at once: this is a turn's end, and what they send now would wait for the next event.
  resume_ = services_.loop.Post([this] {
    for (auto& [stream, inbound] : inbound_) inbound->OnAgentDrained();
  });
}

void PublishedPorts::OnOver() {
  bury_ = services_.loop.Post([this] { Bury(); });
}

void PublishedPorts::Bury() {
  std::erase_if(inbound_, [](const auto& entry) { return entry.second->over(); });
}

std::vector<PublishedPorts::Listed> PublishedPorts::List() const {
  std::vector<Listed> listed;
  for (const Port& port : ports_) {
    Listed& entry = listed.emplace_back(Listed{.port = port.facts, .open = 0});
    for (const auto& [stream, inbound] : inbound_) {
      const PublishedPort& of = inbound->facts().port;
      const bool same = of.host == port.facts.host && of.transport == port.facts.transport;
      if (same && !inbound->over()) ++entry.open;
    }
  }
  return listed;
}

void PublishedPorts::ForEach(const std::function<void(const Inbound&)>& visit) const {
  for (const auto& [stream, inbound] : inbound_) {
    if (!inbound->over()) visit(*inbound);
  }
}

}  // namespace sallyport::runtime
