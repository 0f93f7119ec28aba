#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::guest {

/// The wire between a host process and the agent, and between sandboxctl and the warden: frames
/// over one byte stream. A header of 16 bytes, little-endian:
///
///     u32 length    of the payload, at most kMaxPayload
///     u32 stream    0 for the connection itself, else chosen by who opened it
///     u8  type      FrameType
///     u8  flags     kFlagEnd, kFlagMore
///     u16 reserved  0
///     u32 credit    bulk bytes that the sender of this frame will take, in addition, on this
///     stream
///
/// Bulk frames (stdin, stdout, stderr, data) carry raw bytes, as datagrams do; the others carry CBOR
/// (cbor.h). A sender of bulk bytes starts with kInitialCredit per stream and direction (stdout and
/// stderr share one), and stops when it is spent: a reader that stalls stalls its own stream only
/// (stream_credit.h).
///
/// A control message longer than one payload goes out as several frames of one type and stream, all
/// but the last with kFlagMore and none of another kind between them (message_assembler.h).
enum class FrameType : uint8_t {
  kHello = 1,    ///< Both ways, first: Hello. The lower generation is spoken.
  kTrust = 2,    ///< To the agent, before the first exec: Trust.
  kExec = 3,     ///< To the agent, opens a stream: Exec.
  kStarted = 4,  ///< From the agent: the program runs.
  kStdin = 5,    ///< Bulk, to the agent; kFlagEnd closes the program's stdin.
  kStdout = 6,   ///< Bulk, from the agent; kFlagEnd: the program closed it.
  kStderr = 7,   ///< Bulk, from the agent.
  kExit = 8,     ///< From the agent, last of its stream: Exit.
  kSignal = 9,   ///< To the agent: SignalRequest.
  kResize = 10,  ///< To the agent: Resize.
  kCredit = 11,  ///< No payload; only the header's credit.
  kPing = 12,    ///< Answered by kPong with the same payload.
  kPong = 13,
  kError = 14,     ///< Failure: ends its stream, or with stream 0 the connection.
  kLaunch = 15,    ///< sandboxctl to warden, first on a control socket (runtime/warden/launch.h).
  kLaunched = 16,  ///< Warden to sandboxctl: the sandbox is up.
  kNotice = 17,    ///< Warden to sandboxctl: one line for people.
  kDial = 18,      ///< To the agent, opens a stream: Dial. Answered by kStarted, or by kError.
  kData = 19,      ///< Bulk, both ways on a dialled TCP stream; kFlagEnd: nothing follows this way.
  kDatagram = 20,  ///< One datagram, both ways on a dialled UDP stream; without credit: may be lost.
};

constexpr size_t kHeaderSize = 16;
constexpr size_t kMaxPayload = size_t{64} * 1024;
constexpr size_t kMaxDatagram = 65507;  ///< Of a kDatagram: what UDP can carry over IPv4.
constexpr uint32_t kInitialCredit = 256 * 1024;
constexpr uint8_t kFlagEnd = 1;
constexpr uint8_t kFlagMore = 2;  ///< The message goes on in the next frame; never on bulk frames.
constexpr uint32_t kGeneration = 1;

struct Frame {
  FrameType type = FrameType::kError;
  uint32_t stream = 0;
  uint8_t flags = 0;
  uint32_t credit = 0;
  std::string payload{};

  bool end() const { return (flags & kFlagEnd) != 0; }
  bool more() const { return (flags & kFlagMore) != 0; }
};

/// Appends FRAME's bytes to OUT. The payload must not exceed kMaxPayload.
void AppendFrame(std::string& out, const Frame& frame);
void AppendFrame(std::string& out, FrameType type, uint32_t stream, std::string_view payload = {},
                 uint8_t flags = 0, uint32_t credit = 0);

/// Whether frames of TYPE carry raw bytes that count against a stream's credit.
bool IsBulk(FrameType type);

/// Cuts a byte stream into frames. Input may come in pieces of any size.
class FrameDecoder {
 public:
  void Feed(std::string_view bytes);
  /// The next whole frame; nothing when more bytes are needed. kInvalid, for good, for a length
  /// over kMaxPayload, an unknown type or flag, or a reserved field that is not 0.
  Result<std::optional<Frame>> Next();
  /// Bytes fed that no returned frame has used.
  size_t buffered() const { return buffer_.size() - used_; }

 private:
  std::string buffer_;
  size_t used_ = 0;
  bool broken_ = false;
};

}  // namespace sallyport::guest
