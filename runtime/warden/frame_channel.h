#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/message_assembler.h"

namespace sallyport::runtime {

/// Frames over a socket, in the loop: decodes what comes, queues what goes. Back pressure is the
/// user's: Pause() stops reading while its own sink is full.
class FrameChannel {
 public:
  /// Queued output above which full() holds, and whoever feeds this channel should pause: several
  /// whole streams' credit, so that it is reached only by a peer that doesn't read.
  static constexpr size_t kHighWater = 1024 * 1024;

  class User {
   public:
    /// A bulk frame, or a whole message however many frames it took.
    virtual void OnFrame(guest::Frame frame) = 0;
    /// The peer is gone or broke the protocol; nothing follows. The user may destroy the channel.
    virtual void OnChannelEnd(Error why) = 0;
    /// Output went below the mark after it was full.
    virtual void OnChannelDrained() {}

   protected:
    ~User() = default;
  };

  /// SOCKET becomes non-blocking. The peer's name is for messages ("the agent").
  static Result<std::unique_ptr<FrameChannel>> Create(Loop& loop, UniqueFd socket, std::string peer,
                                                      User& user);

  FrameChannel(const FrameChannel&) = delete;
  FrameChannel& operator=(const FrameChannel&) = delete;

  /// Queues a frame with at most guest::kMaxPayload bytes; the turn's end sends it.
  void Send(guest::FrameType type, uint32_t stream, std::string_view payload = {}, uint8_t flags = 0,
            uint32_t credit = 0);

  /// Queues a control message of any length up to guest::kMaxMessage. kLimit for a longer one.
  Status SendMessage(guest::FrameType type, uint32_t stream, std::string_view payload);

  /// Stops and resumes reading. Frames already decoded wait, too.
  void Pause();
  void Resume();

  bool full() const { return out_.size() - sent_ >= kHighWater; }
  /// Tries to send everything queued, waiting for the peer at most LIMIT. For the last words.
  Status Drain(Clock::duration limit);

 private:
  FrameChannel(Loop& loop, UniqueFd socket, std::string peer, User& user);
  void OnReady(uint32_t events);
  void ReadSome();
  bool Deliver();
  void Flush();
  void End(Error why);

  Loop& loop_;
  UniqueFd socket_;
  std::string peer_;
  User& user_;
  guest::FrameDecoder decoder_;
  guest::MessageAssembler assembler_;
  std::string out_;
  size_t sent_ = 0;
  bool was_full_ = false;
  bool paused_ = false;
  bool ended_ = false;
  bool readable_ = false;
  bool* destroyed_ = nullptr;  // Set while a callback runs that may destroy us.
  Loop::Handle watch_;
  Loop::Handle flush_;
  Loop::Handle resume_;

 public:
  ~FrameChannel();
};

}  // namespace sallyport::runtime
