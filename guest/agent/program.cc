#include "guest/agent/program.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sallyport::guest {
namespace {

// How long a program's end waits for others that hold its output open, counted from when all that
// it had written itself was sent: enough for the rest of a pipeline, not to be felt when a server
// was left in the background.
constexpr auto kGrace = std::chrono::milliseconds(200);

Exit FromWaitStatus(int status) {
  if (WIFSIGNALED(status)) return {.code = 0, .signal = WTERMSIG(status)};
  return {.code = WEXITSTATUS(status), .signal = 0};
}

}  // namespace

Program::Program(Loop& loop, HostConnection& host, uint32_t stream,
                 std::function<void()> on_finished)
    : loop_(loop), host_(host), stream_(stream), on_finished_(std::move(on_finished)) {}

void Program::Start(Exec exec, const Environment& environment) {
  exec_ = std::move(exec);
  auto spawned = Spawn(exec_, environment);
  if (!spawned) return FailToStart({.exit_code = 125, .message = spawned.error().message()});
  Connect(*std::move(spawned));
}

void Program::Connect(Spawned spawned) {
  pid_ = spawned.pid;
  status_ = std::move(spawned.status);
  if (exec_.tty) terminal_ = spawned.output.get();
  const auto kind = exec_.tty ? StdinWriter::Kind::kTerminal : StdinWriter::Kind::kPipe;
  stdin_ = std::make_unique<StdinWriter>(loop_, std::move(spawned.input), kind,
                                         [this](size_t bytes) { OnStdinTaken(bytes); });
  output_ = MakeReader(std::move(spawned.output), FrameType::kStdout);
  error_ = MakeReader(std::move(spawned.error), FrameType::kStderr);
  auto watch = loop_.Watch(status_.get(), EPOLLIN, [this](uint32_t) { OnStatus(); });
  if (!watch) {
    Signal(SIGKILL);
    return FailToStart({.exit_code = 125, .message = watch.error().message()});
  }
  status_watch_ = *std::move(watch);
}

std::unique_ptr<OutputReader> Program::MakeReader(UniqueFd fd, FrameType type) {
  return std::make_unique<OutputReader>(
      loop_, std::move(fd),
      OutputReader::Events{.allowed = [this] { return AllowedOutput(); },
                           .on_data = [this, type](std::string_view bytes) { OnData(type, bytes); },
                           .on_end = [this, type] { OnOutputEnd(type); },
                           .on_drained = [this] { FinishIfDrained(); }});
}

void Program::OnStatus() {
  StartFailure failure;
  const ssize_t got = read(status_.get(), &failure, sizeof failure);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  status_watch_ = {};
  status_.reset();
  if (got == sizeof failure) return FailToStart(Describe(failure, exec_));
  started_ = true;
  exec_ = {};
  host_.Send(FrameType::kStarted, stream_);
  exit_ ? DrainOutput() : UpdateOutput();
}

void Program::FailToStart(const ErrorMessage& error) {
  ErrorMessage bounded = error;
  bounded.message.resize(std::min(bounded.message.size(), kMaxPayload / 2));  // A name may be long.
  host_.Send(FrameType::kError, stream_, bounded.Encode());
  Finish();
}

Status Program::OnFrame(const Frame& frame) {
  if (finished_) return {};  // Sent before the host knew.
  if (Status granted = send_credit_.Grant(frame.credit); !granted) return granted;
  if (frame.credit > 0) UpdateOutput();
  switch (frame.type) {
    case FrameType::kStdin:
      return OnStdin(frame);
    case FrameType::kSignal:
      return OnSignal(frame);
    case FrameType::kResize:
      return OnResize(frame);
    case FrameType::kCredit:
      return {};
    case FrameType::kError:  // The host gives the stream up.
      Signal(SIGKILL);
      Finish();
      return {};
    default:
      return Fail(Code::kInvalid, "a frame that has no place on a program's stream");
  }
}

Status Program::OnStdin(const Frame& frame) {
  if (Status received = receive_credit_.OnReceived(frame.payload.size()); !received) {
    return received;
  }
  stdin_->Write(frame.payload);
  if (frame.end()) stdin_->End();
  return {};
}

void Program::OnStdinTaken(size_t bytes) {
  const uint32_t grant = receive_credit_.OnConsumed(bytes);
  if (grant > 0 && !finished_) host_.Send(FrameType::kCredit, stream_, {}, 0, grant);
}

Status Program::OnSignal(const Frame& frame) {
  const auto request = SignalRequest::Decode(frame.payload);
  if (!request) return tl::unexpected(request.error());
  Signal(request->number);
  return {};
}

void Program::Signal(int number) {
  // Once it is reaped, its number may soon be another's.
  if (pid_ <= 0 || exit_) return;
  // Before it is a group's leader; it has all signals blocked then, and meets this one when ready.
  if (kill(-pid_, number) != 0 && errno == ESRCH) kill(pid_, number);
}

Status Program::OnResize(const Frame& frame) {
  const auto size = Resize::Decode(frame.payload);
  if (!size) return tl::unexpected(size.error());
  if (terminal_ >= 0) ResizeTerminal(terminal_, size->rows, size->columns);
  return {};
}

void Program::OnReaped(int wait_status) {
  exit_ = FromWaitStatus(wait_status);
  if (finished_) return;
  started_ ? DrainOutput() : OnStatus();  // Whether it ever ran is settled now, too.
}

void Program::UpdateOutput() {
  if (!started_ || finished_) return;
  output_->Update();
  error_->Update();
}

void Program::DrainOutput() {
  output_->Drain();
  error_->Drain();
  FinishIfDrained();
}

void Program::OnData(FrameType type, std::string_view bytes) {
  send_credit_.Spend(bytes.size());
  host_.Send(type, stream_, bytes);
}

void Program::OnOutputEnd(FrameType type) {
  if (type == FrameType::kStdout) terminal_ = -1;
  host_.Send(type, stream_, {}, kFlagEnd);
  FinishIfDrained();
}

void Program::FinishIfDrained() {
  if (finished_ || !exit_ || !output_->drained() || !error_->drained()) return;
  if (!output_->open() && !error_->open()) return Finish();
  if (!grace_) grace_ = loop_.After(kGrace, [this] { OnGraceOver(); });
}

void Program::OnGraceOver() {
  if (output_->open()) host_.Send(FrameType::kStdout, stream_, {}, kFlagEnd);
  if (error_->open()) host_.Send(FrameType::kStderr, stream_, {}, kFlagEnd);
  Finish();
}

void Program::Finish() {
  if (std::exchange(finished_, true)) return;
  if (started_ && exit_) host_.Send(FrameType::kExit, stream_, exit_->Encode());
  on_finished_();
}

size_t Program::AllowedOutput() const {
  return started_ && !finished_ && !host_.crowded() ? send_credit_.available() : 0;
}

}  // namespace sallyport::guest
