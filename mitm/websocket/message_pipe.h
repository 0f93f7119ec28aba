#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/byte_filter.h"
#include "base/result.h"
#include "mitm/websocket/frame.h"

namespace sallyport::mitm::websocket {

/// One direction of a WebSocket whose messages pass filters: frames in, frames out, no I/O. Each
/// message goes through a filter of its own; its fragments are not gathered, so what goes out is
/// cut differently from what came in. A message that was settled at once goes out as one frame.
/// Control frames keep their place, also between fragments.
///
/// What it holds of a message is what its filter holds, and within Feed() one block of output and
/// what one slice of input became.
class MessagePipe {
 public:
  /// The filter for a message of OPCODE (kText, kBinary), or for the payload of a control frame
  /// (kClose, kPing, kPong); null: it passes as it is.
  using MakeFilter = std::function<std::unique_ptr<ByteFilter>(Opcode opcode)>;
  /// A fresh mask for a frame.
  using MakeMask = std::function<Mask()>;

  /// MAKE_MASK is called where SENDER is a client.
  MessagePipe(Sender sender, MakeFilter make_filter, MakeMask make_mask);
  ~MessagePipe();
  MessagePipe(const MessagePipe&) = delete;
  MessagePipe& operator=(const MessagePipe&) = delete;

  /// Takes a part of INPUT, which is not empty, and appends what it settles to OUT; at least one
  /// byte is taken. kInvalid: INPUT breaks RFC 6455. Else a filter's error. After an error nothing
  /// may be fed, and OUT holds whole frames. Who gives OUT wipes it.
  Status Feed(std::string_view& input, std::string& out);

  /// Appends a close frame with CODE, as this direction writes frames.
  void AppendClose(uint16_t code, std::string& out);

  /// A close frame has passed: what follows it is dropped.
  bool closed() const { return closed_; }

 private:
  Status OnHead();
  Status OnPayload();
  Status OnEnd(std::string& out);
  Status EndControl(std::string& out);
  void Emit(Fin fin, std::string& out);
  void Append(Fin fin, Opcode opcode, std::string_view payload, std::string& out);

  const Sender sender_;
  const MakeFilter make_filter_;
  const MakeMask make_mask_;
  FrameReader reader_;
  Opcode next_ = Opcode::kContinuation;  // Of the message's next fragment to go out.
  std::unique_ptr<ByteFilter> filter_;   // Of the message under way.
  std::string settled_;                  // Of it, and not in a frame yet; empty between calls.
  std::string control_;                  // The payload of a control frame under way.
  bool closed_ = false;
};

}  // namespace sallyport::mitm::websocket
