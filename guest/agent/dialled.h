#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
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

/// A socket of TYPE (SOCK_STREAM, SOCK_DGRAM) that connects, without waiting, to PORT of ADDRESS
/// (as Dial has it). Not valid when that has failed already.
UniqueFd BeginConnecting(std::string_view address, uint16_t port, int type);

}  // namespace sallyport::guest
