#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "guest/agent/environment.h"
#include "guest/agent/host_connection.h"
#include "guest/agent/output_reader.h"
#include "guest/agent/spawn.h"
#include "guest/agent/stdin_writer.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/messages.h"
#include "guest/protocol/stream_credit.h"

namespace sallyport::guest {

/// One program and its stream, from kExec to kExit or kError. The steps:
///
///     Start -> OnStatus -> (running) -> OnReaped -> (draining) -> Finish
///
/// The exit is told once all output that the program itself wrote has been sent, and its pipes are
/// at their end. A process that it left behind may keep them open: then after a grace period.
class Program {
 public:
  /// ON_FINISHED is called once, from within the program, which must outlive the call.
  Program(Loop& loop, HostConnection& host, uint32_t stream, std::function<void()> on_finished);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// What came with the frame that opened the stream. An error means that it was too much.
  Status OnOpened(uint32_t credit) { return send_credit_.Grant(credit); }

  /// Starts the process. If that fails the stream is over: the host has been told.
  void Start(Exec exec, const Environment& environment);

  /// Frames for the stream. An error means that the host broke the protocol.
  Status OnFrame(const Frame& frame);

  /// The process has ended, with WAIT_STATUS as of waitpid().
  void OnReaped(int wait_status);

  /// What the host connection takes has changed.
  void UpdateOutput();

  pid_t pid() const { return pid_; }
  /// Whether pid() is its own: from Start() until OnReaped().
  bool has_process() const { return pid_ > 0 && !exit_; }
  bool finished() const { return finished_; }

 private:
  void Connect(Spawned spawned);
  std::unique_ptr<OutputReader> MakeReader(UniqueFd fd, FrameType type);
  void OnStatus();
  void FailToStart(const ErrorMessage& error);
  void OnData(FrameType type, std::string_view bytes);
  void OnOutputEnd(FrameType type);
  void OnStdinTaken(size_t bytes);
  Status OnStdin(const Frame& frame);
  Status OnSignal(const Frame& frame);
  Status OnResize(const Frame& frame);
  void Signal(int number);
  void DrainOutput();
  void FinishIfDrained();
  void OnGraceOver();
  void Finish();
  size_t AllowedOutput() const;

  Loop& loop_;
  HostConnection& host_;
  const uint32_t stream_;
  std::function<void()> on_finished_;
  Exec exec_;
  pid_t pid_ = -1;
  UniqueFd status_;
  bool started_ = false;
  bool finished_ = false;
  std::optional<Exit> exit_;
  SendCredit send_credit_;
  ReceiveCredit receive_credit_;
  int terminal_ = -1;  // The terminal's descriptor in output_, while that is open.
  std::unique_ptr<StdinWriter> stdin_;
  std::unique_ptr<OutputReader> output_;
  std::unique_ptr<OutputReader> error_;
  Loop::Handle status_watch_;
  Loop::Handle grace_;
};

}  // namespace sallyport::guest
