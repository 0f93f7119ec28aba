#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sallyport::mitm::websocket {

/// RFC 6455, 5.2.
enum class Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};
inline bool IsControl(Opcode opcode) {
  return (static_cast<uint8_t>(opcode) & 8) != 0;
}

/// The payload of a control frame, at most.
constexpr size_t kMaxControl = 125;

enum class Sender {
  kClient,  ///< Its frames are masked.
  kServer,  ///< Its frames are not.
};

using Mask = std::array<uint8_t, 4>;

/// Reads the frames that one side sends. Strict: reserved bits and opcodes, masks where none may
/// be and none where one must be, lengths longer than needed, fragments of control frames and
/// continuations of nothing are errors. Does no I/O; frames come in pieces of any size.
///
///     (kHead kPayload* kEnd)* or kError, after which nothing more is read
class FrameReader {
 public:
  enum class Event {
    kMore,     ///< All of the input was taken.
    kHead,     ///< opcode() and fin() are a new frame's.
    kPayload,  ///< payload(), without its mask; never empty.
    kEnd,      ///< The frame is complete.
    kError,    ///< error()
  };

  explicit FrameReader(Sender sender) : sender_(sender) {}

  /// Takes what it settles off INPUT: of a payload, at most MAX bytes (at least one).
  Event Next(std::string_view& input, size_t max);

  /// As it stands in the frame: kContinuation behind the first fragment of a message.
  Opcode opcode() const { return opcode_; }
  bool fin() const { return fin_; }
  /// Good until the next call.
  std::string_view payload() const { return payload_; }
  const std::string& error() const { return error_; }

 private:
  enum class Step { kHead, kPayload, kFailed };

  Event ReadHead(std::string_view& input);
  size_t HeadSize() const;
  Event Interpret();
  Event Fail(const char* why);

  const Sender sender_;
  Step step_ = Step::kHead;
  std::array<uint8_t, 14> head_{};
  size_t head_size_ = 0;  // Of head_, what is there.
  Opcode opcode_ = Opcode::kContinuation;
  bool fin_ = true;
  bool in_message_ = false;  // A message has begun, and a continuation is to follow.
  uint64_t left_ = 0;        // Of the payload.
  Mask mask_{};
  size_t masked_ = 0;  // Bytes of the payload so far, modulo 4.
  std::string payload_;
  std::string error_;
};

enum class Fin { kMore, kLast };

/// Appends one frame. MASK is null for a server's.
void AppendFrame(Fin fin, Opcode opcode, std::string_view payload, const Mask* mask,
                 std::string& out);

/// The payload of a close frame with CODE (RFC 6455, 7.4) and no reason.
std::string CloseCode(uint16_t code);

}  // namespace sallyport::mitm::websocket
