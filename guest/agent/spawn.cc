#include "guest/agent/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "guest/agent/lockdown.h"

namespace sallyport::guest {
namespace {

/// The program's ends. With a terminal all three are the same descriptor.
struct ProgramEnds {
  UniqueFd input;
  UniqueFd output;
  UniqueFd error;
  int terminal = -1;
};

/// All that the new process needs, made before it exists: it runs in our own memory, and what it
/// allocated there would stay.
struct Image {
  std::string_view program;  // A path, or a name to be searched for.
  std::string_view path;     // Where to search.
  std::vector<char*> argv;
  std::vector<char*> envp;
  const char* directory;
  std::string& file;  // One path at a time.
};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return tl::unexpected(Error::FromErrno("pipe"));
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Status SetNonBlocking(const UniqueFd& fd) {
  // Only for our ends: a terminal's or pipe's other end has a file description of its own.
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("O_NONBLOCK"));
  }
  return {};
}

Status ConnectPipes(Spawned& ours, ProgramEnds& theirs) {
  auto input = MakePipe();
  if (!input) return tl::unexpected(std::move(input).error());
  auto output = MakePipe();
  if (!output) return tl::unexpected(std::move(output).error());
  auto error = MakePipe();
  if (!error) return tl::unexpected(std::move(error).error());
  ours.input = std::move(input->write);
  ours.output = std::move(output->read);
  ours.error = std::move(error->read);
  theirs.input = std::move(input->read);
  theirs.output = std::move(output->write);
  theirs.error = std::move(error->write);
  if (Status s = SetNonBlocking(ours.error); !s) return s;
  return {};
}

Status ConnectTerminal(const Exec& exec, Spawned& ours, ProgramEnds& theirs) {
  constexpr int kFlags = O_RDWR | O_NOCTTY | O_CLOEXEC;
  // O_NONBLOCK: a program may have put anything in its place.
  ours.output = UniqueFd(open("/dev/ptmx", kFlags | O_NONBLOCK));
  int unlock = 0;
  if (!ours.output.valid() || ioctl(ours.output.get(), TIOCSPTLCK, &unlock) != 0) {
    return tl::unexpected(Error::FromErrno("/dev/ptmx"));
  }
  // By the master itself: no path that the image could have put something else behind.
  theirs.input = UniqueFd(ioctl(ours.output.get(), TIOCGPTPEER, kFlags));
  if (!theirs.input.valid()) return tl::unexpected(Error::FromErrno("a terminal"));
  theirs.terminal = theirs.input.get();
  ResizeTerminal(ours.output.get(), exec.rows, exec.columns);
  // One descriptor to watch for each direction.
  ours.input = UniqueFd(fcntl(ours.output.get(), F_DUPFD_CLOEXEC, 0));
  if (!ours.input.valid()) return tl::unexpected(Error::FromErrno("dup"));
  return {};
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void Report(int status_fd, StartFailure::Step step, int error) {
  const StartFailure failure{.step = step, .error = error};
  // Nobody is left to tell if even this fails; then the program just ends, with 125.
  [[maybe_unused]] const ssize_t written = write(status_fd, &failure, sizeof failure);
  _exit(125);
}

bool IsAbsence(int error) {
  return error == ENOENT || error == ENOTDIR;
}

/// Executes image.file. Returns, with the errno that says most, only if that could not be done.
int TryExecute(const Image& image) {
  // By itself, as an execve that finds nothing takes several times as long.
  if (access(image.file.c_str(), F_OK) != 0 && IsAbsence(errno)) return errno;
  execve(image.file.c_str(), image.argv.data(), image.envp.data());
  // The file is there, so it was its interpreter that was not found.
  return IsAbsence(errno) ? ELIBACC : errno;
}

/// Searches as execvp() does: a name without '/' in each directory of the path. One file name at a
/// time, as a long name and a long path multiply.
int Execute(const Image& image) {
  if (image.program.find('/') != std::string_view::npos) {
    image.file = image.program;
    return TryExecute(image);
  }
  if (image.program.empty()) return ENOENT;
  int reason = ENOENT;
  std::string_view rest = image.path;
  for (;;) {
    const size_t end = rest.find(':');
    const std::string_view directory = rest.substr(0, end);
    image.file = directory.empty() ? "." : directory;
    image.file.append("/").append(image.program);
    const int error = TryExecute(image);
    if (!IsAbsence(error)) reason = error;
    if (!IsAbsence(error) && error != EACCES && error != ELIBACC) return error;
    if (end == std::string_view::npos) return reason;
    rest.remove_prefix(end + 1);
  }
}

bool BecomeSessionLeader(const ProgramEnds& ends) {
  if (setsid() < 0) return false;
  return ends.terminal < 0 || ioctl(ends.terminal, TIOCSCTTY, 0) == 0;
}

bool TakeStandardDescriptors(const ProgramEnds& ends) {
  const bool terminal = ends.terminal >= 0;
  const int input = ends.input.get();
  return dup2(input, STDIN_FILENO) >= 0 &&
         dup2(terminal ? input : ends.output.get(), STDOUT_FILENO) >= 0 &&
         dup2(terminal ? input : ends.error.get(), STDERR_FILENO) >= 0 &&
         syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

void UnblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// The new process, in the agent's memory, while the agent stands still until it is another program
/// or gone. All signals are blocked and none has a handler, so nothing else runs there.
[[noreturn]] void RunProgram(const Image& image, const ProgramEnds& ends, int status_fd) {
  using Step = StartFailure::Step;
  if (!BecomeSessionLeader(ends)) Report(status_fd, Step::kSetUp, errno);
  if (!TakeStandardDescriptors(ends)) Report(status_fd, Step::kSetUp, errno);
  if (!EnableProgramCapabilities()) Report(status_fd, Step::kSetUp, EPERM);
  if (chdir(image.directory) != 0) Report(status_fd, Step::kDirectory, errno);
  UnblockSignals();
  Report(status_fd, Step::kExecute, Execute(image));
}

}  // namespace

Result<Spawned> Spawn(const Exec& exec, const Environment& environment) {
  std::string file;
  const Image image{.program = exec.argv.front(),
                    .path = environment.Get("PATH"),
                    .argv = Pointers(exec.argv),
                    .envp = Pointers(environment.entries()),
                    .directory = exec.cwd.empty() ? "/" : exec.cwd.c_str(),
                    .file = file};
  Spawned ours;
  ProgramEnds theirs;
  Status connected = exec.tty ? ConnectTerminal(exec, ours, theirs) : ConnectPipes(ours, theirs);
  if (!connected) return tl::unexpected(std::move(connected).error());
  auto status = MakePipe();
  if (!status) return tl::unexpected(std::move(status).error());
  for (const UniqueFd* fd : {&ours.input, &ours.output, &status->read}) {
    if (Status s = SetNonBlocking(*fd); !s) return tl::unexpected(std::move(s).error());
  }
  // No copy of our memory for what is soon another program's.
  const pid_t pid = vfork();
  if (pid < 0) return tl::unexpected(Error::FromErrno("fork"));
  if (pid == 0) RunProgram(image, theirs, status->write.get());
  ours.pid = pid;
  ours.status = std::move(status->read);
  return ours;
}

ErrorMessage Describe(const StartFailure& failure, const Exec& exec) {
  const std::string& program = exec.argv.front();
  const std::string reason = std::generic_category().message(failure.error);
  switch (failure.step) {
    case StartFailure::Step::kDirectory:
      return {.exit_code = 125, .message = "cd " + exec.cwd + ": " + reason};
    case StartFailure::Step::kExecute:
      break;
    default:
      return {.exit_code = 125, .message = "preparing the program: " + reason};
  }
  if (failure.error == ELIBACC) {
    return {.exit_code = 127, .message = program + ": its interpreter is not in the sandbox"};
  }
  if (!IsAbsence(failure.error)) return {.exit_code = 126, .message = program + ": " + reason};
  const bool searched = program.find('/') == std::string::npos;
  return {.exit_code = 127,
          .message = searched ? "command not found: " + program : program + ": " + reason};
}

void ResizeTerminal(int fd, uint16_t rows, uint16_t columns) {
  if (rows == 0 || columns == 0) return;
  const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ioctl(fd, TIOCSWINSZ, &size);
}

}  // namespace sallyport::guest
