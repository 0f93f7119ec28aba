#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sallyport {

/// What a Stream::Read brought.
struct ReadResult {
  enum class Kind {
    kBytes,       ///< `bytes` bytes (at least one) were stored.
    kWouldBlock,  ///< Nothing now; the listener is told when there is.
    kEnd,         ///< The peer has finished sending; nothing will follow.
    kBroken,      ///< The stream was reset or failed; nothing works any more.
  };
  Kind kind = Kind::kWouldBlock;
  size_t bytes = 0;
  /// With kBytes: these were the last for now. The next Read() would block, and the listener is
  /// told when there are more; not set where a stream doesn't know.
  bool drained = false;
};

/// A full-duplex byte stream with back pressure: a guest's TCP connection, a
/// kernel socket, or TLS over one of these. Single-threaded. Small reads and
/// writes are cheap: every implementation buffers to its own natural size.
///
/// Destroying a stream closes it: bytes already written are still delivered,
/// followed by an end; bytes not yet read are dropped. Use Abort() first for a reset.
class Stream {
 public:
  /// Told that something changed: bytes, the end or a failure may be there to
  /// read, or there may be room to write again. Called from the loop, never
  /// from inside a call of the stream, and possibly for no reason. The listener
  /// may destroy the stream.
  class Listener {
   public:
    virtual void OnStreamReady() = 0;

   protected:
    ~Listener() = default;
  };

  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  /// Sets who is told; null tells nobody. A listener set late is told at once (from the loop) if
  /// something happened before. Must outlive the stream, or be unset.
  virtual void SetListener(Listener* listener) = 0;

  /// Moves bytes that have arrived into BUFFER. Not reading closes the peer's window.
  virtual ReadResult Read(std::span<uint8_t> buffer) = 0;

  /// How many bytes Write() takes now. After a value below what the caller
  /// wanted, the listener is told once there is more.
  virtual size_t Room() = 0;

  /// Takes a prefix of BYTES for delivery, and returns its length: at most
  /// Room(), 0 when broken or after CloseWrite().
  virtual size_t Write(std::string_view bytes) = 0;

  /// Hands what was written to the layer below now. A turn's end does so too.
  virtual void Flush() = 0;

  /// Ends the sending direction behind the bytes already written (a TCP FIN).
  virtual void CloseWrite() = 0;

  /// Resets the stream: both sides see a failure, unsent bytes are dropped.
  virtual void Abort() = 0;
};

}  // namespace sallyport
