#include "guest/agent/dialled.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace sallyport::guest {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress ToSocketAddress(std::string_view address, uint16_t port) {
  SocketAddress result;
  if (address.size() == sizeof(in_addr)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.data(), address.size());
    std::memcpy(&result.storage, &v4, sizeof v4);
    result.size = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.data(), sizeof v6.sin6_addr);
    std::memcpy(&result.storage, &v6, sizeof v6);
    result.size = sizeof v6;
  }
  return result;
}

// A socket of TYPE that connects, without waiting, to PORT of ADDRESS (as Dial has it). Not valid
// when that has failed already.
UniqueFd BeginConnecting(std::string_view address, uint16_t port, int type) {
  const SocketAddress target = ToSocketAddress(address, port);
  UniqueFd connecting(socket(target.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!connecting.valid()) return {};
  const auto* where = reinterpret_cast<const sockaddr*>(&target.storage);
  if (connect(connecting.get(), where, target.size) != 0 && errno != EINPROGRESS) return {};
  return connecting;
}

}  // namespace

bool Attempts::Next(const std::function<void()>& on_ready) {
  while (next_ < dial_.addresses.size()) {
    if (Try(dial_.addresses[next_++], on_ready)) return true;
  }
  return false;
}

bool Attempts::Try(std::string_view address, const std::function<void()>& on_ready) {
  End();
  socket_ = BeginConnecting(address, dial_.port, type_);
  if (!socket_.valid()) return false;
  auto watch = loop_.Watch(socket_.get(), events_, [on_ready](uint32_t) { on_ready(); });
  if (!watch) return false;
  watch_ = *std::move(watch);
  return true;
}

UniqueFd Attempts::Take() {
  watch_ = {};
  return std::move(socket_);
}

void Attempts::End() {
  watch_ = {};
  socket_.reset();
}

}  // namespace sallyport::guest
