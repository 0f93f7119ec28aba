#include "runtime/dial/ares_channel.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "policy/dns_message.h"
#include "runtime/dial/outward.h"

/// c-ares calls this instead of fopen() (cmake/packages.cmake). It looks for the host's
/// configuration, which is ours to read, and for a seed of query numbers, which are ours, too; a
/// channel that is made in a confined process could not have either.
extern "C" FILE* sallyport_no_file_for_cares(const char*, const char*) {
  errno = ENOENT;
  return nullptr;
}

namespace sallyport::runtime {
namespace {

constexpr int kTryMilliseconds = 1500;  // c-ares doubles it with every round over the servers.
constexpr int kTries = 2;
constexpr int kUdpSize = 1232;  // What our queries say; a longer answer comes over TCP.

// c-ares calls these instead of the system's, so that its sockets, too, go through the one place that
// points a socket at the outside.
ares_socket_t OpenSocket(int family, int type, int protocol, void*) {
  return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}
int CloseSocket(ares_socket_t fd, void*) { return close(fd); }
int Connect(ares_socket_t fd, const sockaddr* address, ares_socklen_t length, void*) {
  return ConnectOutward(fd, address, length);
}
ares_ssize_t Receive(ares_socket_t fd, void* bytes, size_t size, int flags, sockaddr* from,
                     ares_socklen_t* length, void*) {
  return recvfrom(fd, bytes, size, flags, from, length);
}
ares_ssize_t Send(ares_socket_t fd, const iovec* pieces, int count, void*) {
  return writev(fd, pieces, count);
}
constexpr ares_socket_functions kSocketFunctions = {OpenSocket, CloseSocket, Connect, Receive, Send};

uint16_t RandomId() {
  uint16_t id = 0;
  SALLYPORT_CHECK(getrandom(&id, sizeof id, 0) == sizeof id);
  return id;
}

}  // namespace

AresChannel::~AresChannel() {
  if (channel_ != nullptr) ares_destroy(channel_);
}

Status AresChannel::Init(const std::vector<Endpoint>& servers) {
  has_servers_ = !servers.empty();
  ares_options options = {};
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_STAYOPEN | ARES_FLAG_EDNS;
  options.ednspsz = kUdpSize;
  options.timeout = kTryMilliseconds;
  options.tries = kTries;
  options.sock_state_cb = OnSocketState;
  options.sock_state_cb_data = this;
  std::string lookups = "b";  // DNS only: never a file.
  options.lookups = lookups.data();
  options.ndomains = 0;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                   ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS | ARES_OPT_EDNSPSZ;
  if (const int status = ares_init_options(&channel_, &options, mask); status != ARES_SUCCESS) {
    return Fail(Code::kSystem, std::string("c-ares: ") + ares_strerror(status));
  }
  ares_set_socket_functions(channel_, &kSocketFunctions, nullptr);
  std::string list;
  for (const auto& server : servers) list += (list.empty() ? "" : ",") + server.ToString();
  if (!has_servers_) return {};
  if (const int status = ares_set_servers_ports_csv(channel_, list.c_str()); status != ARES_SUCCESS) {
    return Fail(Code::kInvalid, "resolvers " + list + ": " + ares_strerror(status));
  }
  return {};
}

void AresChannel::Ask(const HostName& name, uint16_t type, Done done) {
  const std::string query = policy::dns::BuildQuery(RandomId(), name, type);  // c-ares checks the id.
  auto* carried = new Done(std::move(done));
  ares_send(channel_, reinterpret_cast<const unsigned char*>(query.data()),
            static_cast<int>(query.size()), OnAnswer, carried);
  ArmTimer();
}

void AresChannel::OnAnswer(void* done, int status, int, unsigned char* bytes, int length) {
  const std::unique_ptr<Done> owned(static_cast<Done*>(done));
  std::string_view message;
  if (bytes != nullptr)
    message = {reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)};
  (*owned)(status, message);
}

void AresChannel::OnSocketState(void* self, ares_socket_t fd, int read, int write) {
  auto& channel = *static_cast<AresChannel*>(self);
  channel.watched_.erase(fd);
  if (read == 0 && write == 0) return;
  const uint32_t events = (read != 0 ? uint32_t{EPOLLIN} : 0u) | (write != 0 ? uint32_t{EPOLLOUT} : 0u);
  auto watch = channel.loop_.Watch(fd, events, [&channel, fd](uint32_t ready) {
    channel.Process((ready & ~uint32_t{EPOLLOUT}) != 0 ? fd : ARES_SOCKET_BAD,
                     (ready & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
  });
  if (watch) channel.watched_.emplace(fd, *std::move(watch));
}

void AresChannel::Process(ares_socket_t read, ares_socket_t write) {
  ares_process_fd(channel_, read, write);
  ArmTimer();
}

void AresChannel::ArmTimer() {
  timeval time = {};
  if (ares_timeout(channel_, nullptr, &time) == nullptr) {
    timer_ = {};
    return;
  }
  const auto wait = std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  timer_ = loop_.After(wait, [this] { Process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); });
}

}  // namespace sallyport::runtime
