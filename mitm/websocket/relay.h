#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "mitm/message.h"
#include "mitm/websocket/message_pipe.h"

namespace sallyport::mitm::websocket {

/// Moves bytes between two connections that have become a WebSocket, with back pressure: opaque, or
/// through pipes that look into messages. The end of one side's sending is passed on behind what it
/// sent; also where its connection just breaks, since a WebSocket says itself whether it is whole.
///
/// A direction holds no more than its pipe, and what its stream has not taken of one step.
class Relay {
 public:
  enum class State {
    kOpen,
    kMore,    ///< There is more to do at once, but others should have their turn.
    kOver,    ///< Both sides have finished sending.
    kFailed,  ///< See failure(); both sides were told by a close frame.
  };
  /// Whose frames broke the protocol, or were refused.
  struct Failure {
    Sender sender = Sender::kClient;
    Error error{Code::kInvalid, {}};
  };

  /// Channels are of connections that outlive it. UP and DOWN both, or null both.
  Relay(ByteChannel guest, ByteChannel server, std::unique_ptr<MessagePipe> up,
        std::unique_ptr<MessagePipe> down);

  /// Does what can be done now. Leaves flushing to the caller.
  State Pump();

  /// Ends both directions by a close frame with CODE, where frames are looked into.
  void Close(uint16_t code);

  const Failure& failure() const { return failure_; }
  /// Bytes taken from the guest, and from the server.
  uint64_t bytes_up() const { return up_.bytes; }
  uint64_t bytes_down() const { return down_.bytes; }

 private:
  struct Direction {
    Sender sender;
    ByteChannel from;
    ByteChannel to;
    std::unique_ptr<MessagePipe> pipe;
    uint64_t bytes = 0;
    bool ended = false;    // Nothing more is read.
    bool to_gone = false;  // Nothing more can be written.
  };

  bool Move(Direction& direction);
  Status Step(Direction& direction);
  static void Finish(Direction& direction);
  static bool Done(const Direction& direction);

  Direction up_;
  Direction down_;
  Failure failure_;
  bool failed_ = false;
};

}  // namespace sallyport::mitm::websocket
