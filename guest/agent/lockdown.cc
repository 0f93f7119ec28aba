#include "guest/agent/lockdown.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <iterator>

#include "seccomp_guest.h"  // Generated: kGuestFilter.

namespace sallyport::guest {
namespace {

constexpr uint64_t Bit(int capability) {
  return uint64_t{1} << capability;
}

// What installing packages as the sandbox's root takes: the default of container engines without
// MKNOD, NET_RAW and AUDIT_WRITE, which only add to what can be reached of the kernel.
constexpr uint64_t kProgramCapabilities =
    Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_FOWNER) | Bit(CAP_FSETID) | Bit(CAP_KILL) |
    Bit(CAP_SETGID) | Bit(CAP_SETUID) | Bit(CAP_SETPCAP) | Bit(CAP_NET_BIND_SERVICE) |
    Bit(CAP_SYS_CHROOT) | Bit(CAP_SETFCAP);

// While it serves, the agent only signals programs, which may have changed their user. The others
// stay in its permitted set: with no_new_privs no program gets a capability that the agent lacks.
constexpr uint64_t kAgentCapabilities = Bit(CAP_KILL);

Status Prctl(const char* what, int option, unsigned long argument) {
  if (prctl(option, argument, 0, 0, 0) != 0) return tl::unexpected(Error::FromErrno(what));
  return {};
}

/// EFFECTIVE and PERMITTED, as far as the process has them; nothing inheritable, for a non-empty
/// inheritable set gives capabilities to programs of other users.
Status SetCapabilities(uint64_t effective, uint64_t permitted) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[2] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return tl::unexpected(Error::FromErrno("capget"));
  for (int i = 0; i < 2; ++i) {
    sets[i].permitted &= static_cast<uint32_t>(permitted >> (32 * i));
    sets[i].effective = sets[i].permitted & static_cast<uint32_t>(effective >> (32 * i));
    sets[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return tl::unexpected(Error::FromErrno("capset"));
  return {};
}

Status CutBoundingSet() {
  // The kernel's last capability is found by asking: it answers EINVAL beyond.
  for (int capability = 0; capability < 64; ++capability) {
    const int present = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (present < 0) return {};
    if (present == 0 || (kProgramCapabilities & Bit(capability)) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      return tl::unexpected(Error::FromErrno("dropping a capability"));
    }
  }
  return {};
}

Status LoadFilter() {
  const sock_fprog program{.len = static_cast<unsigned short>(std::size(kGuestFilter)),
                           .filter = const_cast<sock_filter*>(std::data(kGuestFilter))};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    return tl::unexpected(Error::FromErrno("loading the system call filter"));
  }
  return {};
}

void ResetSignals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  // Blocked, they end nobody: SIGCHLD is read from a descriptor, a lost peer shows as EPIPE.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

Status KeepOnly(int host_fd) {
  if (fcntl(host_fd, F_SETFD, FD_CLOEXEC) != 0) {
    return tl::unexpected(Error::FromErrno("the host's descriptor"));
  }
  // With 0 to 2 in use no pipe for a program gets one of these numbers.
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = dup(fd);
  if (fd < 0) return tl::unexpected(Error::FromErrno("/dev/null"));
  if (syscall(SYS_close_range, host_fd + 1, ~0U, 0) != 0) {
    return tl::unexpected(Error::FromErrno("close_range"));
  }
  return {};
}

}  // namespace

Status PrepareProcess(int host_fd) {
  ResetSignals();
  umask(022);
  if (Status s = Prctl("PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0); !s) return s;
  if (Status s = Prctl("PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1); !s) return s;
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return tl::unexpected(Error::FromErrno("RLIMIT_CORE"));
  return KeepOnly(host_fd);
}

Status EnterLockdown() {
  if (Status s = CutBoundingSet(); !s) return s;
  if (Status s = Prctl("PR_CAP_AMBIENT", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL); !s) return s;
  if (Status s = SetCapabilities(kAgentCapabilities, kProgramCapabilities); !s) return s;
  return LoadFilter();
}

Status EnableProgramCapabilities() {
  return SetCapabilities(kProgramCapabilities, kProgramCapabilities);
}

}  // namespace sallyport::guest
