#include "runtime/api/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
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

/// What the child does between its birth and the exec; posix_spawn needs no copy of this process
/// for it.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  /// FD becomes TO in the child.
  Status Give(int fd, int to) {
    // By a number of its own: a dup2 onto itself would leave it to be closed by the exec.
    copy_ = UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, to + 1));
    if (!copy_.valid()) return tl::unexpected(Error::FromErrno("dup"));
    posix_spawn_file_actions_adddup2(&actions_, copy_.get(), to);
    return {};
  }

  Result<pid_t> Run(const std::string& path) {
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions_, runtime::kFirstFreeFd);
    char name[] = "sandbox-warden";
    char* argv[] = {name, nullptr};
    char* envp[] = {nullptr};
    pid_t pid = -1;
    const int error = posix_spawn(&pid, path.c_str(), &actions_, &attributes_, argv, envp);
    if (error != 0) return Fail(Code::kSystem, "starting " + path + ": " + std::strerror(error));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  UniqueFd copy_;
};

}  // namespace

Result<SpawnedWarden> SpawnWarden(const std::string& path) {
  std::array<int, 2> control;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(control[0]);
  const UniqueFd theirs(control[1]);
  SpawnPlan plan;
  if (auto given = plan.Give(theirs.get(), runtime::kControlFd); !given) {
    return tl::unexpected(std::move(given).error());
  }
  auto pid = plan.Run(path);
  if (!pid) return tl::unexpected(std::move(pid).error());
  return SpawnedWarden{std::move(ours), *pid};
}

void WaitForWarden(pid_t pid, std::chrono::milliseconds limit) {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (pidfd.valid()) poll(&ended, 1, static_cast<int>(limit.count()));
}

}  // namespace sallyport
