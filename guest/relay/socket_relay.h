#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/stream_credit.h"

namespace sallyport::guest {

/// Closes SOCKET, a TCP connection, so that its peer sees a reset and nothing that is unsent.
void ResetSocket(UniqueFd socket);

/// Relays between a connected TCP socket and a dialled stream of frames (kData), the same at both
/// ends of it: half-closes and resets pass over in both directions, each end by itself.
///
/// Holds at most kInitialCredit bytes, those for a socket that takes them slowly; what the other
/// end takes slowly stays in the kernel.
class SocketRelay {
 public:
  enum class End {
    kFinished,    ///< Both directions ended, and all was handed to the kernel.
    kReset,       ///< The socket was reset or failed; the other end has been told.
    kResetByPeer  ///< The other end was (kError), and the socket has been reset.
  };

  /// The stream to the other end.
  class Frames {
   public:
    virtual void Send(FrameType type, std::string_view payload, uint8_t flags, uint32_t credit) = 0;
    /// So much is on its way that data must wait. Resume() is called when it need not any more.
    virtual bool crowded() const = 0;
    /// The last call. The socket is closed; the relay is to be destroyed later, not from within.
    virtual void OnRelayEnd(End end) = 0;

   protected:
    ~Frames() = default;
  };

  /// SOCKET is connected; it becomes non-blocking. FRAMES outlives the relay.
  static Result<std::unique_ptr<SocketRelay>> Start(Loop& loop, UniqueFd socket, Frames& frames);
  /// Resets the socket of a relay that has not ended.
  ~SocketRelay();
  SocketRelay(const SocketRelay&) = delete;
  SocketRelay& operator=(const SocketRelay&) = delete;

  /// A frame of the stream. kInvalid for one that breaks the protocol.
  Status OnFrame(const Frame& frame);
  /// The stream is no longer crowded.
  void Resume() { Pump(); }
  /// Ends it with a reset on both sides. OnRelayEnd() is called from within.
  void Abort();

  uint64_t bytes_from_socket() const { return from_socket_; }
  uint64_t bytes_to_socket() const { return to_socket_; }

 private:
  SocketRelay(UniqueFd socket, Frames& frames) : socket_(std::move(socket)), frames_(frames) {}
  void OnReady(uint32_t events);
  void Pump();
  void WriteSome();
  void ReadSome();
  bool MayRead() const;
  void OnSocketEnd();
  void Finish(End end);

  UniqueFd socket_;
  Frames& frames_;
  SendCredit send_credit_;
  ReceiveCredit receive_credit_;
  std::string pending_;  // For the socket.
  bool readable_ = false;
  bool writable_ = false;
  bool socket_ended_ = false;  // It sends nothing more.
  bool write_failed_ = false;  // It takes nothing more; what it sent can still be read.
  bool write_ended_ = false;   // The other end's end was passed on to it.
  bool peer_ended_ = false;    // The other end sends nothing more.
  bool over_ = false;
  uint64_t from_socket_ = 0;
  uint64_t to_socket_ = 0;
  Loop::Handle watch_;
};

}  // namespace sallyport::guest
