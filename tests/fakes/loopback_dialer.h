#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/dialer.h"
#include "base/loop.h"

namespace sallyport {

/// Connects every destination to one port of the loopback interface, or fails as it is told to.
class LoopbackDialer final : public Dialer {
 public:
  LoopbackDialer(Loop& loop, uint16_t port) : loop_(loop), port_(port) {}

  Pending Dial(const Destination& destination, Transport,
               std::function<void(Result<Dialed>)> done) override {
    dialed.push_back(destination);
    const uint64_t id = next_++;
    if (hangs) {
      waiting_.emplace(id, Loop::Handle());
      return Pending([this, id] { waiting_.erase(id); });
    }
    waiting_.emplace(id, loop_.Post([this, id, done = std::move(done)] {
      const auto callback = done;
      waiting_.erase(id);
      callback(Connect());
    }));
    return Pending([this, id] { waiting_.erase(id); });
  }

  std::vector<Destination> dialed;
  std::optional<Error> fail;
  bool hangs = false;  ///< Nothing comes of what is dialed.
  /// Attempts that have neither ended nor been given up.
  size_t under_way() const { return waiting_.size(); }

 private:
  Result<Dialed> Connect() {
    if (fail) return tl::unexpected(*fail);
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Endpoint peer{IpAddress::V4(127, 0, 0, 1), port_};
    sockaddr_storage address;
    const socklen_t size = peer.ToSockaddr(address);
    if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
      return Fail(Code::kRefused, "the connection was refused");
    }
    return Dialed{std::move(socket), peer};
  }

  Loop& loop_;
  const uint16_t port_;
  uint64_t next_ = 0;
  std::map<uint64_t, Loop::Handle> waiting_;
};

}  // namespace sallyport
