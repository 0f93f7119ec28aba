#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/message_assembler.h"

namespace sallyport::guest {

/// The byte stream to the host as frames. What is sent leaves at the end of the loop's turn.
class HostConnection {
 public:
  struct Events {
    std::function<void(Frame)> on_frame;  ///< A whole message; messages longer than a frame joined.
    std::function<void(Error)> on_end;    ///< The last event: the host is gone or sends nonsense.
    std::function<void()> on_room;        ///< After crowded(): programs' output may be sent again.
  };

  HostConnection(Loop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}
  HostConnection(const HostConnection&) = delete;
  HostConnection& operator=(const HostConnection&) = delete;

  Status Start(Events events);

  void Send(FrameType type, uint32_t stream, std::string_view payload = {}, uint8_t flags = 0,
            uint32_t credit = 0);

  /// So much is on its way that programs' output must wait.
  bool crowded() const { return crowded_; }

  /// The last words: sends what is on its way, waiting for the host a short while. Nothing is sent
  /// or received after.
  void FinishSending();

 private:
  void OnReady(uint32_t events);
  void ReadSome();
  void TakeFrames();
  void SendSome();
  void UpdateInterest();
  void End(Error error);

  Loop& loop_;
  UniqueFd fd_;
  Events events_;
  FrameDecoder decoder_;
  MessageAssembler assembler_;
  std::string out_;
  size_t sent_ = 0;  // Of out_.
  bool crowded_ = false;
  bool ended_ = false;
  uint32_t interest_ = 0;
  Loop::Handle watch_;
  Loop::Handle turn_end_;
};

}  // namespace sallyport::guest
