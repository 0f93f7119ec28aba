#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "guest/protocol/stream_credit.h"
#include "runtime/api/sandbox.h"
#include "runtime/warden/frame_channel.h"

namespace sallyport {

/// One program's run in a sandbox, with its stdin, stdout and stderr on descriptors of this process:
///
///     Start -> (launched) -> (started) -> relaying -> Finish
class Session final : runtime::FrameChannel::User {
 public:
  struct Descriptors {
    int in = 0;
    int out = 1;
    int err = 2;
  };
  struct Outcome {
    int exit_code = 125;  ///< The program's, or 124 to 127 with `message`.
    std::string message;  ///< Why there is no exit code of the program's own.
  };
  struct Facts {
    std::string backend;
    std::string link;
  };

  /// Sends PROGRAM and relays until it ended; DONE is called once, from LOOP, which must go on running.
  static Result<std::unique_ptr<Session>> Start(Loop& loop, Sandbox& sandbox, const Program& program,
                                                Descriptors descriptors,
                                                std::function<void(Outcome)> done);
  ~Session();

  /// Delivers a signal to the program.
  void Signal(int number);
  void Resize(uint16_t rows, uint16_t columns);

  /// Called once the sandbox is up.
  std::function<void(const Facts&)> on_launched;

 private:
  /// Bytes on their way to one of our descriptors.
  class Sink;

  Session(Loop& loop, Descriptors descriptors, std::function<void(Outcome)> done);
  void OnFrame(guest::Frame frame) override;
  void OnChannelEnd(Error why) override;
  void OnBulk(Sink& sink, const guest::Frame& frame);
  void OnConsumed(size_t bytes);
  void OnChannelDrained() override { WatchInput(); }
  void WatchInput();
  void ReadInput();
  void EndInput();
  void FinishWhenDrained();

  static constexpr uint32_t kStream = 1;

  Loop& loop_;
  const Descriptors descriptors_;
  std::function<void(Outcome)> done_;
  std::unique_ptr<runtime::FrameChannel> channel_;
  std::unique_ptr<Sink> out_;
  std::unique_ptr<Sink> err_;
  guest::SendCredit send_credit_;
  guest::ReceiveCredit receive_credit_;
  bool started_ = false;
  bool input_ended_ = false;
  bool input_is_pollable_ = true;
  std::optional<Outcome> outcome_;
  Loop::Handle input_watch_;
  Loop::Handle input_again_;
};

}  // namespace sallyport
