#include "runtime/api/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "runtime/warden/launch.h"

namespace sallyport {

namespace {

using runtime::WardenFd;

/// In the child, between fork and exec: only system calls.
[[noreturn]] void BecomeWarden(const char* path, std::array<int, 4> from, int report, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  setsid();
  // First out of the way of the numbers they will have, then to those numbers.
  for (int& fd : from) fd = fcntl(fd, F_DUPFD_CLOEXEC, runtime::kFirstFreeFd + 1);
  const int report_copy = fcntl(report, F_DUPFD_CLOEXEC, runtime::kFirstFreeFd + 1);
  constexpr std::array<int, 4> kTo = {WardenFd::kControlFd, WardenFd::kLaunchFd, WardenFd::kAuditFd,
                                      WardenFd::kValuesFd};
  for (size_t i = 0; i < kTo.size(); ++i) dup2(from[i], kTo[i]);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, 0);
  dup2(null, 1);
  syscall(SYS_close_range, runtime::kFirstFreeFd, ~0U, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  char name[] = "sandbox-warden";
  char* argv[] = {name, nullptr};
  char* envp[] = {nullptr};
  execve(path, argv, envp);
  const int error = errno;
  [[maybe_unused]] const ssize_t told = write(report_copy, &error, sizeof error);
  _exit(127);
}

}  // namespace

Result<SpawnedWarden> SpawnWarden(const std::string& path, WardenDescriptors descriptors) {
  std::array<int, 2> control;
  std::array<int, 2> report;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(control[0]);
  const UniqueFd theirs(control[1]);
  if (pipe2(report.data(), O_CLOEXEC) != 0) return tl::unexpected(Error::FromErrno("pipe2"));
  const UniqueFd report_read(report[0]);
  UniqueFd report_write(report[1]);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return tl::unexpected(Error::FromErrno("fork"));
  if (pid == 0) {
    BecomeWarden(path.c_str(),
                 {theirs.get(), descriptors.launch.get(), descriptors.audit.get(),
                  descriptors.values.get()},
                 report_write.get(), parent);
  }
  report_write.reset();
  int error = 0;
  if (read(report_read.get(), &error, sizeof error) == sizeof error) {
    return Fail(Code::kSystem, "starting " + path + ": " + std::strerror(error));
  }
  return SpawnedWarden{std::move(ours), pid};
}

void WaitForWarden(pid_t pid, std::chrono::milliseconds limit) {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (pidfd.valid()) poll(&ended, 1, static_cast<int>(limit.count()));
}

}  // namespace sallyport
