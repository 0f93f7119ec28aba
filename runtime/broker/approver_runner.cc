// One question's life:
//
//     OnPacket -> Start (vfork, exec, the question in a file of memory) -> OnOutput, OnComplaint …
//       -> OnEnded, or OnTime, or kEndApprover -> its process group is killed -> the answer
//
// Limits: kMaxRunning commands at once, each for the timeout, kMaxOutput of its output and some of
// what it writes to its standard error.

#include "runtime/broker/approver_runner.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/loop.h"
#include "runtime/broker/approver_packets.h"
#include "runtime/broker/child_program.h"

namespace sallyport::runtime {

namespace {

// As many as a person could look at; the warden asks no more at once.
constexpr size_t kMaxRunning = 16;
constexpr size_t kMaxOutput = 4096;  // An answer has less than 100 bytes.
// Of 4 KiB, taken in one turn: a command that prints without end must not keep others from theirs,
// nor its own timer. What a pipe holds when a command ends is as much.
constexpr int kPiecesATurn = 16;

/// A file of memory that holds TEXT, to be read from its beginning.
UniqueFd MemoryFile(std::string_view text) {
  UniqueFd file(memfd_create("question", MFD_CLOEXEC));
  if (!file.valid() ||
      write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      lseek(file.get(), 0, SEEK_SET) != 0) {
    return UniqueFd();
  }
  return file;
}

/// Adds what FD has now to TEXT, up to MOST bytes of it; what is beyond is dropped. False at its
/// end.
bool TakeFrom(int fd, std::string& text, size_t most) {
  std::array<char, 4096> piece;
  for (int i = 0; i < kPiecesATurn; ++i) {
    const ssize_t count = read(fd, piece.data(), piece.size());
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    const size_t room = most - std::min(most, text.size());
    text.append(piece.data(), std::min(static_cast<size_t>(count), room));
  }
  return true;
}

/// A command under way; destroying it kills the command with all that it started.
class Run {
 public:
  /// How it ended: an exit status, or why there is none.
  using Done = std::function<void(std::optional<int> status, std::string why)>;

  Run(Loop& loop, Done done) : loop_(loop), done_(std::move(done)) {}
  ~Run() { (void)Reap(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Status Start(CommandSource command, char* const* environment, std::string_view question,
               std::chrono::milliseconds timeout) {
    const UniqueFd in = MemoryFile(question);
    auto out = MakePipe();
    auto complaints = MakePipe();
    if (!in.valid() || !out[0].valid() || !complaints[0].valid()) {
      return tl::unexpected(Error::FromErrno("preparing the command"));
    }
    const auto argv = Pointers(command.argv);
    pid_ = Launch({.argv = argv.data(),
                   .envp = environment,
                   .folder = command.folder.c_str(),
                   .in = in.get(),
                   .out = out[1].get(),
                   .complaints = complaints[1].get()});
    if (pid_ < 0) return tl::unexpected(Error::FromErrno("vfork"));
    out_ = std::move(out[0]);
    complaints_ = std::move(complaints[0]);
    ended_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    if (!ended_.valid()) return tl::unexpected(Error::FromErrno("pidfd_open"));
    fcntl(out_.get(), F_SETFL, O_NONBLOCK);
    fcntl(complaints_.get(), F_SETFL, O_NONBLOCK);
    timer_ = loop_.After(timeout, [this] { OnTime(); });
    return Watch();
  }

  const std::string& output() const { return output_; }
  std::string complaint() const { return FirstLine(complaint_); }

 private:
  Status Watch() {
    auto out = loop_.Watch(out_.get(), EPOLLIN, [this](uint32_t) { OnOutput(); });
    auto complaints = loop_.Watch(complaints_.get(), EPOLLIN, [this](uint32_t) { OnComplaint(); });
    auto ended = loop_.Watch(ended_.get(), EPOLLIN, [this](uint32_t) { OnEnded(); });
    if (!out || !complaints || !ended) return Fail(Code::kSystem, "watching the command failed");
    watch_out_ = *std::move(out);
    watch_complaints_ = *std::move(complaints);
    watch_ended_ = *std::move(ended);
    return {};
  }
  void OnOutput() {
    if (!TakeFrom(out_.get(), output_, kMaxOutput)) watch_out_ = {};
  }
  void OnComplaint() {
    if (!TakeFrom(complaints_.get(), complaint_, 4 * kMaxComplaint)) watch_complaints_ = {};
  }
  void OnTime() { Finish(std::nullopt, "it did not answer in time"); }
  void OnEnded() {
    OnOutput();  // What it wrote before is there.
    OnComplaint();
    const int status = Reap();
    if (WIFEXITED(status)) return Finish(WEXITSTATUS(status), {});
    Finish(std::nullopt, "it was ended by signal " + std::to_string(WTERMSIG(status)));
  }
  void Finish(std::optional<int> status, std::string why) {
    const auto done = std::move(done_);
    done(status, std::move(why));  // Destroys this.
  }

  /// Ends it and what it left running: until it has been waited for, the group is its own.
  int Reap() {
    if (pid_ < 0) return 0;
    watch_ended_ = {};
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

  Loop& loop_;
  Done done_;
  pid_t pid_ = -1;
  UniqueFd out_;
  UniqueFd complaints_;
  UniqueFd ended_;
  std::string output_;
  std::string complaint_;
  Loop::Handle watch_out_;
  Loop::Handle watch_complaints_;
  Loop::Handle watch_ended_;
  Loop::Handle timer_;
};

class Runner {
 public:
  Runner(Loop& loop, UniqueFd socket, const CommandSource& command,
         std::chrono::milliseconds timeout, Variables variables)
      : loop_(loop),
        socket_(std::move(socket)),
        command_(command),
        timeout_(timeout),
        variables_(std::move(variables)),
        environment_(variables_.ForExec()) {
    // Where the command is looked for; no other variable is ours, too.
    const auto path = variables_.Find("PATH");
    if (path) {
      setenv("PATH", std::string(*path).c_str(), 1);
    } else {
      unsetenv("PATH");
    }
  }

  int Serve() {
    auto watch = loop_.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { OnPacket(); });
    if (!watch) return 1;
    const Loop::Handle watching = *std::move(watch);
    while (!gone_) {
      if (!loop_.RunOnce()) return 1;
    }
    return 0;
  }

 private:
  void OnPacket() {
    packet_.resize(kMaxApproverPacket);
    const ssize_t size = recv(socket_.get(), packet_.data(), packet_.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < static_cast<ssize_t>(kApproverHead)) {
      gone_ = true;
      return;
    }
    const std::string_view packet(packet_.data(), static_cast<size_t>(size));
    const uint64_t id = NumberAt(packet, 1, 8);
    if (packet[0] == kEndApprover) {
      running_.erase(id);
    } else {
      Start(id, packet.substr(kApproverHead));
    }
  }

  void Start(uint64_t id, std::string_view question) {
    if (running_.size() >= kMaxRunning || running_.contains(id)) {
      return Answer(id, 1, 0, {}, "too many questions are asked at once");
    }
    auto run = std::make_unique<Run>(
        loop_, [this, id](std::optional<int> status, std::string why) { OnDone(id, status, why); });
    if (auto started = run->Start(command_, environment_.data(), question, timeout_); !started) {
      return Answer(id, 1, 0, {}, started.error().message());
    }
    running_.emplace(id, std::move(run));
  }

  void OnDone(uint64_t id, std::optional<int> status, const std::string& why) {
    const auto node = running_.extract(id);  // Goes at the end of this.
    const Run& run = *node.mapped();
    if (!status) return Answer(id, 1, 0, {}, why);
    Answer(id, 0, *status, run.complaint(), run.output());
  }

  void Answer(uint64_t id, char kind, int status, const std::string& complaint,
              std::string_view text) {
    std::string packet(1, kind);
    AppendNumber(id, 8, packet);
    AppendNumber(static_cast<uint64_t>(status), 1, packet);
    AppendNumber(complaint.size(), 2, packet);
    packet.append(complaint).append(text);
    if (send(socket_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0) gone_ = true;
  }

  Loop& loop_;
  UniqueFd socket_;
  const CommandSource& command_;
  const std::chrono::milliseconds timeout_;
  Variables variables_;
  const std::vector<char*> environment_;  // Points into variables_.
  std::string packet_;
  std::map<uint64_t, std::unique_ptr<Run>> running_;
  bool gone_ = false;
};

}  // namespace

int ServeApprover(UniqueFd socket, const CommandSource& command, std::chrono::milliseconds timeout,
                  Variables variables) {
  auto loop = Loop::Create();
  if (!loop) return 1;
  return Runner(**loop, std::move(socket), command, timeout, std::move(variables)).Serve();
}

}  // namespace sallyport::runtime
