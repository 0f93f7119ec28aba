#include "runtime/backend/namespaces/process.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

bool SysctlIs(const char* path, std::string_view value) {
  const auto text = ReadFile(path);
  return text && text->substr(0, text->find('\n')) == value;
}

Error CloneError(int number) {
  errno = number;
  Error error = Error::FromErrno("creating namespaces");
  if (number != EPERM && number != ENOSPC && number != ENOSYS && number != EACCES &&
      number != EUSERS) {
    return error;
  }
  std::string why = WhyNamespacesAreForbidden();
  if (why.empty()) {
    why =
        "this container's seccomp profile forbids it; run the container with "
        "--security-opt seccomp=unconfined or a profile that allows clone with namespaces";
  }
  return Error(Code::kUnsupported, error.message() + ": " + why);
}

}  // namespace

std::string WhyNamespacesAreForbidden() {
  if (SysctlIs("/proc/sys/user/max_user_namespaces", "0")) {
    return "user namespaces are switched off; sysctl -w user.max_user_namespaces=15000";
  }
  if (SysctlIs("/proc/sys/kernel/unprivileged_userns_clone", "0") && geteuid() != 0) {
    return "user namespaces are for root only; sysctl -w kernel.unprivileged_userns_clone=1";
  }
  if (SysctlIs("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") && geteuid() != 0) {
    return "AppArmor restricts user namespaces; sysctl -w "
           "kernel.apparmor_restrict_unprivileged_userns=0, or give sandboxctl a profile with "
           "`userns,`";
  }
  return "";
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Child::~Child() {
  if (pid_ <= 0) return;
  syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

UniqueFd Child::Release() {
  pid_ = -1;
  return std::move(pidfd_);
}

Result<Child> CloneInto(uint64_t namespaces) {
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = namespaces | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) return tl::unexpected(CloneError(errno));
  return Child(static_cast<pid_t>(pid), UniqueFd(pid == 0 ? -1 : pidfd));
}

}  // namespace sallyport::runtime
