// One command's life:
//
//     vfork, exec -> Collect (its output, until it ends, its time is over or the broker is gone)
//       -> the rest of its process group is killed -> judged by its status
//
// Limits: kTime for a command, kMaxOutput of its output, kMaxComplaint of what it writes to its
// standard error. Commands run one after the other.

#include "runtime/broker/errand_runner.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>

#include "runtime/broker/child_program.h"

namespace sallyport::runtime {

namespace {

constexpr std::chrono::seconds kTime{30};
constexpr size_t kMaxOutput = size_t{64} * 1024 - 1;

/// A command under way.
class Running {
 public:
  Running(const CommandSource& command, int broker)
      : name_("command " + command.argv[0]), broker_(broker) {
    output_.text.reserve(kMaxOutput + 1);
  }

  Result<Wiped> Run(CommandSource command, char* const* environment) {
    auto out = MakePipe();
    auto complaints = MakePipe();
    if (!out[0].valid() || !complaints[0].valid()) return tl::unexpected(Error::FromErrno("pipe2"));
    const auto argv = Pointers(command.argv);
    pid_ = Launch({.argv = argv.data(),
                   .envp = environment,
                   .folder = command.folder.c_str(),
                   .out = out[1].get(),
                   .complaints = complaints[1].get()});
    if (pid_ < 0) return tl::unexpected(Error::FromErrno("vfork"));
    out[1].reset();
    complaints[1].reset();
    const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    auto collected = ended.valid() ? Collect(out[0].get(), complaints[0].get(), ended.get())
                                   : Status(tl::unexpected(Error::FromErrno("pidfd_open")));
    kill(-pid_,
         SIGKILL);  // What it left running; it has not been waited for, so the group is its own.
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    if (!collected) return tl::unexpected(std::move(collected).error());
    return Judge(status);
  }

 private:
  Status Collect(int out, int complaints, int ended) {
    const auto deadline = std::chrono::steady_clock::now() + kTime;
    std::array<pollfd, 4> fds = {{{.fd = out, .events = POLLIN, .revents = 0},
                                  {.fd = complaints, .events = POLLIN, .revents = 0},
                                  {.fd = ended, .events = POLLIN, .revents = 0},
                                  {.fd = broker_, .events = 0, .revents = 0}}};
    fcntl(out, F_SETFL, O_NONBLOCK);
    fcntl(complaints, F_SETFL, O_NONBLOCK);
    for (;;) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) return Fail(Code::kTimeout, name_ + " did not finish within 30 s");
      if (poll(fds.data(), fds.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) {
        return tl::unexpected(Error::FromErrno("poll"));
      }
      if (fds[3].revents != 0) return Fail(Code::kSystem, "the broker is gone");
      if (!Take(fds[0], output_.text, kMaxOutput + 1)) fds[0].fd = -1;
      if (!Take(fds[1], complaint_, 4 * kMaxComplaint)) fds[1].fd = -1;
      if (output_.text.size() > kMaxOutput)
        return Fail(Code::kLimit, name_ + " printed more than 64 KiB");
      // It has ended: what it wrote before is there. What it left running may write on for ever.
      if (fds[2].revents != 0) {
        TakeRest(fds[0], output_.text, kMaxOutput + 1);
        TakeRest(fds[1], complaint_, 4 * kMaxComplaint);
        if (output_.text.size() > kMaxOutput)
          return Fail(Code::kLimit, name_ + " printed more than 64 KiB");
        return {};
      }
    }
  }

  void TakeRest(const pollfd& from, std::string& text, size_t most) {
    while (text.size() < most && Take(from, text, most) && took_) {
    }
  }

  /// Reads what is there into TEXT, up to MOST bytes of it; what is beyond is dropped. False at the
  /// end.
  bool Take(const pollfd& from, std::string& text, size_t most) {
    took_ = false;
    if (from.fd < 0) return false;
    std::array<char, 4096> piece;
    const ssize_t count = read(from.fd, piece.data(), piece.size());
    if (count > 0) {
      text.append(piece.data(),
                  std::min(static_cast<size_t>(count), most - std::min(most, text.size())));
      took_ = true;
    }
    secrets::WipeBytes(piece.data(), piece.size());
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
  }

  Result<Wiped> Judge(int status) {
    const std::string line = FirstLine(complaint_);
    const std::string said = line.empty() ? "" : ": " + line;
    if (WIFSIGNALED(status)) {
      return Fail(Code::kNotFound,
                  name_ + " was ended by signal " + std::to_string(WTERMSIG(status)) + said);
    }
    if (WEXITSTATUS(status) != 0) {
      return Fail(Code::kNotFound,
                  name_ + " failed with status " + std::to_string(WEXITSTATUS(status)) + said);
    }
    if (output_.text.ends_with('\n')) output_.text.pop_back();
    if (output_.text.ends_with('\r')) output_.text.pop_back();
    if (output_.text.empty()) return Fail(Code::kNotFound, name_ + " printed nothing" + said);
    return std::move(output_);
  }

  const std::string name_;
  const int broker_;
  pid_t pid_ = -1;
  Wiped output_;  // Reserved: it never grows.
  std::string complaint_;
  bool took_ = false;
};

Result<Wiped> ReadNow(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("file " + path));
  return ReadValue(file.get(), path);
}

Status WriteWhole(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return tl::unexpected(Error::FromErrno("writing"));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

/// Makes FILE what the file with INFO was, with CONTENT, on the disk.
Status Fill(int file, const struct stat& info, std::string_view content) {
  if ((info.st_uid != geteuid() || info.st_gid != getegid()) &&
      fchown(file, info.st_uid, info.st_gid) != 0) {
    return tl::unexpected(Error::FromErrno("keeping its owner"));
  }
  if (fchmod(file, info.st_mode & 0777) != 0)
    return tl::unexpected(Error::FromErrno("keeping its mode"));
  auto status = WriteWhole(file, content);
  if (status) status = WriteWhole(file, "\n");
  if (status && fsync(file) != 0) status = tl::unexpected(Error::FromErrno("fsync"));
  return status;
}

Result<Wiped> ReplaceNow(const std::string& path, std::string_view content) {
  std::array<char, PATH_MAX> resolved;
  struct stat info = {};
  if (realpath(path.c_str(), resolved.data()) == nullptr || stat(resolved.data(), &info) != 0) {
    return tl::unexpected(Error::FromErrno("file " + path));
  }
  const std::string target = resolved.data();
  const std::string folder = target.substr(0, target.rfind('/') + 1);
  std::string beside = folder + ".sallyport-XXXXXX";
  const UniqueFd file(mkostemp(beside.data(), O_CLOEXEC));
  if (!file.valid())
    return tl::unexpected(Error::FromErrno("file " + path + ": a new one beside it"));
  auto status = Fill(file.get(), info, content);
  if (status && rename(beside.c_str(), target.c_str()) != 0)
    status = tl::unexpected(Error::FromErrno("rename"));
  if (!status) {
    unlink(beside.c_str());
    return tl::unexpected(std::move(status).error().In("file " + path));
  }
  const UniqueFd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid()) fsync(directory.get());
  return Wiped();
}

class Runner {
 public:
  Runner(UniqueFd socket, const Errands::Declared& declared, Variables variables)
      : socket_(std::move(socket)),
        declared_(declared),
        variables_(std::move(variables)),
        environment_(variables_.ForExec()) {
    // Where commands are looked for; no other variable is ours, too.
    const auto path = variables_.Find("PATH");
    if (path) {
      setenv("PATH", std::string(*path).c_str(), 1);
    } else {
      unsetenv("PATH");
    }
  }

  int Serve() {
    Wiped request;
    for (;;) {
      request.text.resize(kMaxErrandAnswer + kErrandHead);
      const ssize_t size = recv(socket_.get(), request.text.data(), request.text.size(), 0);
      if (size < 0 && errno == EINTR) continue;
      if (size < static_cast<ssize_t>(kErrandHead)) return 0;
      request.text.resize(static_cast<size_t>(size));
      if (!Answer(Do(request.text))) return 0;
    }
  }

 private:
  Result<Wiped> Do(std::string_view request) {
    const auto byte = [&](size_t i) {
      return static_cast<size_t>(static_cast<unsigned char>(request[i]));
    };
    const size_t number = byte(1) | byte(2) << 8;
    const std::string_view content = request.substr(kErrandHead);
    if (byte(0) == kRunCommand && number < declared_.commands.size()) {
      const CommandSource& command = declared_.commands[number];
      return Running(command, socket_.get()).Run(command, environment_.data());
    }
    if (number >= declared_.files.size()) return Fail(Code::kNotFound, "it was not declared");
    const std::string& path = declared_.files[number];
    if (byte(0) == kReadFile) return ReadNow(path);
    if (byte(0) == kReplaceFile) return ReplaceNow(path, content);
    return Fail(Code::kInvalid, "no such errand");
  }

  bool Answer(const Result<Wiped>& result) {
    Wiped packet;
    const std::string_view text =
        result ? result->text : std::string_view(result.error().message());
    packet.text.reserve(1 + text.size());
    packet.text.push_back(result ? 0 : 1);
    packet.text.append(text.substr(0, kMaxErrandAnswer - 1));
    return send(socket_.get(), packet.text.data(), packet.text.size(), MSG_NOSIGNAL) > 0;
  }

  UniqueFd socket_;
  const Errands::Declared& declared_;
  Variables variables_;
  const std::vector<char*> environment_;  // Points into variables_.
};

}  // namespace

int ServeErrands(UniqueFd socket, const Errands::Declared& declared, Variables variables) {
  return Runner(std::move(socket), declared, std::move(variables)).Serve();
}

}  // namespace sallyport::runtime
