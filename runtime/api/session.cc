#include "runtime/api/session.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guest/protocol/messages.h"
#include "runtime/warden/launch.h"

namespace sallyport {

using guest::Frame;
using guest::FrameType;

namespace {
// A pipe that polls as writable takes this much without blocking (PIPE_BUF), and the descriptor may
// be shared with others, so it is not ours to make non-blocking.
constexpr size_t kWritePiece = 4096;
}  // namespace

class Session::Sink {
 public:
  Sink(Session& session, int fd) : session_(session), fd_(fd) {}

  void Append(std::string_view bytes) {
    if (broken_) return session_.OnConsumed(bytes.size());
    pending_.append(bytes);
    if (!watching_) Watch();
  }
  bool empty() const { return pending_.empty(); }

 private:
  void Watch() {
    if (regular_) return Post();
    auto watch = session_.loop_.Watch(fd_, EPOLLOUT, [this](uint32_t) { WriteSome(kWritePiece); });
    if (!watch) {  // A regular file can't be polled, and doesn't need it.
      regular_ = true;
      return Post();
    }
    watch_ = *std::move(watch);
    watching_ = true;
  }
  void Post() {
    watch_ = session_.loop_.Post([this] { WriteSome(pending_.size()); });
    watching_ = true;
  }

  void WriteSome(size_t most) {
    const ssize_t count = write(fd_, pending_.data(), std::min(most, pending_.size()));
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
      if (regular_) Post();
      return;
    }
    size_t consumed = pending_.size();
    if (count >= 0) {
      consumed = static_cast<size_t>(count);
    } else {
      broken_ = true;  // Nobody reads our output any more: the program goes on, as under `| head`.
    }
    pending_.erase(0, consumed);
    if (pending_.empty()) {
      watch_ = {};
      watching_ = false;
    } else if (regular_) {
      Post();
    }
    session_.OnConsumed(consumed);
  }

  Session& session_;
  const int fd_;
  std::string pending_;  // At most kInitialCredit: the agent has credit for no more.
  bool watching_ = false;
  bool regular_ = false;
  bool broken_ = false;
  Loop::Handle watch_;
};

Session::Session(Loop& loop, Descriptors descriptors, std::function<void(Outcome)> done)
    : loop_(loop),
      descriptors_(descriptors),
      done_(std::move(done)),
      out_(std::make_unique<Sink>(*this, descriptors.out)),
      err_(std::make_unique<Sink>(*this, descriptors.err)) {}

Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::Start(Loop& loop, Sandbox& sandbox,
                                                const Program& program, Descriptors descriptors,
                                                std::function<void(Outcome)> done) {
  std::unique_ptr<Session> session(new Session(loop, descriptors, std::move(done)));
  auto channel =
      runtime::FrameChannel::Create(loop, std::move(sandbox.control), "the warden", *session);
  if (!channel) return tl::unexpected(std::move(channel).error());
  session->channel_ = *std::move(channel);

  guest::Exec exec;
  exec.argv = program.argv;
  exec.env = program.env;
  exec.cwd = program.workdir.value_or(sandbox.workdir);
  exec.tty = program.tty;
  winsize size = {};
  if (program.tty && ioctl(descriptors.out, TIOCGWINSZ, &size) == 0) {
    exec.rows = size.ws_row;
    exec.columns = size.ws_col;
  }
  if (auto status = session->channel_->SendMessage(FrameType::kExec, kStream, exec.Encode());
      !status) {
    return tl::unexpected(std::move(status).error().In("the program's arguments"));
  }
  return session;
}

void Session::Signal(int number) {
  if (outcome_) return;
  channel_->Send(FrameType::kSignal, kStream, guest::SignalRequest{number}.Encode());
}

void Session::Resize(uint16_t rows, uint16_t columns) {
  if (outcome_) return;
  channel_->Send(FrameType::kResize, kStream, guest::Resize{rows, columns}.Encode());
}

void Session::OnFrame(Frame frame) {
  if (frame.credit > 0 && frame.stream == kStream) {
    if (auto status = send_credit_.Grant(frame.credit); !status) {
      return OnChannelEnd(std::move(status).error());
    }
    input_again_ = loop_.Post([this] { WatchInput(); });
  }
  switch (frame.type) {
    case FrameType::kLaunched: {
      const auto launched = runtime::Launched::Decode(frame.payload);
      if (launched && on_launched) on_launched({launched->backend, launched->link});
      return;
    }
    case FrameType::kStarted:
      started_ = true;
      WatchInput();
      return;
    case FrameType::kStdout:
      return OnBulk(*out_, frame);
    case FrameType::kStderr:
      return OnBulk(*err_, frame);
    case FrameType::kExit: {
      const auto exit = guest::Exit::Decode(frame.payload);
      outcome_ = exit ? Outcome{exit->ShellCode(), ""} : Outcome{125, exit.error().message()};
      return FinishWhenDrained();
    }
    case FrameType::kError: {
      const auto error = guest::ErrorMessage::Decode(frame.payload);
      outcome_ =
          error ? Outcome{error->exit_code, error->message} : Outcome{125, error.error().message()};
      return FinishWhenDrained();
    }
    default:
      return;
  }
}

void Session::OnChannelEnd(Error why) {
  if (!outcome_) outcome_ = Outcome{125, "the sandbox ended: " + why.message()};
  FinishWhenDrained();
}

void Session::OnBulk(Sink& sink, const Frame& frame) {
  if (auto status = receive_credit_.OnReceived(frame.payload.size()); !status) {
    return OnChannelEnd(std::move(status).error());
  }
  if (!frame.payload.empty()) sink.Append(frame.payload);
}

void Session::OnConsumed(size_t bytes) {
  if (const uint32_t grant = receive_credit_.OnConsumed(bytes); grant > 0) {
    channel_->Send(FrameType::kCredit, kStream, {}, 0, grant);
  }
  if (outcome_) FinishWhenDrained();
}

void Session::WatchInput() {
  if (!started_ || input_ended_ || outcome_ || input_watch_) return;
  if (input_is_pollable_) {
    auto watch = loop_.Watch(descriptors_.in, EPOLLIN, [this](uint32_t) { ReadInput(); });
    if (watch) {
      input_watch_ = *std::move(watch);
      return;
    }
    input_is_pollable_ = false;
  }
  input_watch_ = loop_.Post([this] { ReadInput(); });
}

void Session::ReadInput() {
  static std::array<char, guest::kMaxPayload> buffer;
  const size_t most = std::min<size_t>(send_credit_.available(), buffer.size());
  if (most == 0 || channel_->full()) {  // The grant that comes, or the drained channel, goes on.
    input_watch_ = {};
    return;
  }
  const ssize_t count = read(descriptors_.in, buffer.data(), most);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) return EndInput();
  const auto size = static_cast<size_t>(count);
  send_credit_.Spend(size);
  channel_->Send(FrameType::kStdin, kStream, {buffer.data(), size});
  if (!input_is_pollable_) {
    input_watch_ = {};
    WatchInput();
  }
}

void Session::EndInput() {
  input_ended_ = true;
  input_watch_ = {};
  channel_->Send(FrameType::kStdin, kStream, {}, guest::kFlagEnd);
}

void Session::FinishWhenDrained() {
  input_watch_ = {};
  input_again_ = {};
  if (!out_->empty() || !err_->empty() || !done_) return;
  auto done = std::exchange(done_, nullptr);
  done(*outcome_);
}

}  // namespace sallyport
