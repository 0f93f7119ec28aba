#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/messages.h"

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

/// The addresses that the host named for a server, one after the other: a socket for each, connected
/// or connecting, which nothing is waited for with.
class Attempts {
 public:
  /// Sockets of TYPE (SOCK_STREAM, SOCK_DGRAM), watched for EVENTS.
  Attempts(Loop& loop, Dial dial, int type, uint32_t events)
      : loop_(loop), dial_(std::move(dial)), type_(type), events_(events) {}

  /// Puts the socket of the next address that has not failed at once in the place of the last one,
  /// and calls ON_READY for its events. False when no address is left.
  bool Next(const std::function<void()>& on_ready);

  /// That socket.
  int socket() const { return socket_.get(); }
  /// Hands it over; its events are not reported any more.
  UniqueFd Take();
  /// Closes it.
  void End();

 private:
  bool Try(std::string_view address, const std::function<void()>& on_ready);

  Loop& loop_;
  const Dial dial_;
  const int type_;
  const uint32_t events_;
  size_t next_ = 0;  // Of dial_.addresses.
  UniqueFd socket_;
  Loop::Handle watch_;
};

}  // namespace sallyport::guest
