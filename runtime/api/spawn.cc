#include "runtime/api/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/protocol/message_assembler.h"
#include "guest/protocol/messages.h"
#include "runtime/backend/namespaces/namespace_backend.h"
#include "runtime/warden/launch.h"

namespace sallyport {

namespace {

/// The child, on its way to being the warden. A copy of its parent, it begins the sandbox first:
/// what that takes long for goes on by itself during the exec and the warden's start.
class Birth {
 public:
  Birth(const std::string& path, int control) : path_(path), control_(control) {}

  [[noreturn]] void Run() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ResetSignals();
    if (!ForgetEnvironment()) Refuse(errno);
    setsid();
    if (!KeepOnlyControl()) Refuse(errno);
    control_ = runtime::kControlFd;
    const auto begun = runtime::BeginBeforeExec({}, runtime::kFirstFreeFd);
    // Where it does not work the warden tries again, and says what is wrong.
    Execute(begun ? *begun : std::string());
    Refuse(errno);
  }

 private:
  /// A program that uses this library may have handlers; they must not run in its copy.
  static void ResetSignals() {
    for (int number = 1; number < NSIG; ++number) std::signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  /// Its variables may be secrets, and the sandbox's first process is a copy of this one. By the
  /// kernel, which refuses what can't be written: a program may have put a literal there.
  static bool ForgetEnvironment() {
    const UniqueFd zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
    if (!zero.valid()) return false;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      [[maybe_unused]] const ssize_t wiped = read(zero.get(), *entry, std::strlen(*entry));
    }
    environ = nullptr;
    return true;
  }

  /// Beside stderr: /dev/null as 0 and 1, and our end of the socket.
  bool KeepOnlyControl() {
    const int above = runtime::kFirstFreeFd;  // Out of the way of the numbers assigned below.
    const UniqueFd control(fcntl(control_, F_DUPFD, above));
    const UniqueFd opened(open("/dev/null", O_RDWR | O_CLOEXEC));
    const UniqueFd null(fcntl(opened.get(), F_DUPFD, above));
    return control.valid() && null.valid() && dup2(null.get(), STDIN_FILENO) >= 0 &&
           dup2(null.get(), STDOUT_FILENO) >= 0 && dup2(control.get(), runtime::kControlFd) >= 0 &&
           syscall(SYS_close_range, runtime::kFirstFreeFd, ~0U, 0) == 0;
  }

  void Execute(std::string begun) {
    char name[] = "sandbox-warden";
    std::string flag = runtime::kBegunFlag;
    char* argv[] = {name, begun.empty() ? nullptr : flag.data(), begun.data(), nullptr};
    // Of each size of block, glibc keeps 7 at hand; with many requests under way that is few.
    char tunables[] = "GLIBC_TUNABLES=glibc.malloc.tcache_count=256";
    char* envp[] = {tunables, nullptr};
    execve(path_.c_str(), argv, envp);
  }

  /// As the warden would: says why, and stays until the owner, who may still be writing, goes.
  [[noreturn]] void Refuse(int error) {
    const guest::ErrorMessage why{125, "starting " + path_ + ": " + std::strerror(error)};
    std::string bytes;
    if (guest::AppendMessage(bytes, guest::FrameType::kError, 0, why.Encode())) {
      (void)send(control_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    char ignored[4096];
    while (recv(control_, ignored, sizeof ignored, 0) > 0) {
    }
    _exit(125);
  }

  const std::string& path_;
  int control_;
};

/// Signals wait while the child still has its parent's handlers.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Result<SpawnedWarden> SpawnWarden(const std::string& path) {
  std::array<int, 2> control;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(control[0]);
  const UniqueFd theirs(control[1]);
  const SignalsHeld held;
  const pid_t pid = fork();
  if (pid < 0) return tl::unexpected(Error::FromErrno("fork"));
  if (pid == 0) Birth(path, theirs.get()).Run();
  return SpawnedWarden{std::move(ours), pid};
}

void WaitForWarden(pid_t pid, std::chrono::milliseconds limit) {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (pidfd.valid()) poll(&ended, 1, static_cast<int>(limit.count()));
}

}  // namespace sallyport
