#pragma once

#include <sys/socket.h>

#include <string_view>

#include "base/result.h"
#include "guest/protocol/frame.h"

namespace sallyport::guest {

/// A stream that the host opened with kDial, to a server in the sandbox.
class Dialled {
 public:
  virtual ~Dialled() = default;
  /// Frames for the stream. An error means that the host broke the protocol.
  virtual Status OnFrame(const Frame& frame) = 0;
  /// What the host connection takes has changed.
  virtual void OnRoom() {}
  /// Nothing follows, and the host knows.
  virtual bool finished() const = 0;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
/// ADDRESS as Dial has it, with PORT.
SocketAddress ToSocketAddress(std::string_view address, uint16_t port);

}  // namespace sallyport::guest
