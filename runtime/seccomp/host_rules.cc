#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "runtime/seccomp/filter_builder.h"
#include "runtime/seccomp/rules.h"

namespace sallyport::seccomp {
namespace {

/// For an int of the kernel's: none of the values is negative.
scmp_arg_cmp Equals(unsigned argument, int64_t value) {
  return {argument, SCMP_CMP_EQ, static_cast<uint64_t>(value), 0};
}

scmp_arg_cmp MaskedEquals(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

/// Memory that never becomes executable, time, signals to itself, the end.
void AllowProcessItself(FilterBuilder& filter) {
  // tgkill is abort()'s; by the kernel's rules it reaches processes of the same id only.
  filter.Allow(
      "brk munmap mremap madvise mlock mlock2 munlock clock_getres clock_gettime "
      "clock_nanosleep gettimeofday nanosleep time futex getrandom restart_syscall "
      "sched_getaffinity sched_yield sysinfo uname getcpu rseq getegid geteuid getgid getpid "
      "getppid getresgid getresuid getrlimit getrusage gettid getuid times rt_sigaction "
      "rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sigaltstack "
      "tgkill exit exit_group");
  filter.AllowWhen("mmap", {MaskedEquals(2, PROT_EXEC, 0)});
  filter.AllowWhen("mprotect", {MaskedEquals(2, PROT_EXEC, 0)});
  filter.AllowWhen("prlimit64", {Equals(2, 0)});  // Asking only.
  filter.AllowWhen("prctl", {Equals(0, PR_SET_NAME)});
  filter.AllowWhen("prctl", {Equals(0, PR_SET_VMA)});  // malloc names its memory.
  filter.AllowWhen("prctl", {Equals(0, PR_GET_DUMPABLE)});
}

/// Descriptors it already has, and waiting for them.
void AllowDescriptors(FilterBuilder& filter) {
  filter.Allow(
      "close close_range dup dup2 dup3 fdatasync fstat fstatfs fsync lseek newfstatat pread64 "
      "preadv pwrite64 pwritev read readv write writev pipe pipe2 epoll_create1 epoll_ctl "
      "epoll_pwait epoll_pwait2 epoll_wait eventfd2 poll ppoll pselect6 select signalfd4 "
      "timerfd_create timerfd_gettime timerfd_settime getpeername getsockname getsockopt "
      "recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto setsockopt shutdown");
  for (const int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD, F_DUPFD_CLOEXEC}) {
    filter.AllowWhen("fcntl", {Equals(1, command)});
  }
  for (const int64_t request : {FIONREAD, FIONBIO, SIOCOUTQ, TCGETS, TIOCGWINSZ}) {
    filter.AllowWhen("ioctl", {Equals(1, request)});
  }
}

void AllowIpSockets(FilterBuilder& filter) {
  for (const int family : {AF_INET, AF_INET6}) {
    for (const uint64_t type : {uint64_t{SOCK_STREAM}, uint64_t{SOCK_DGRAM}}) {
      filter.AllowWhen("socket", {Equals(0, family), MaskedEquals(1, 0xf, type)});
    }
  }
}

}  // namespace

std::vector<sock_filter> WardenProgram() {
  FilterBuilder filter(SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_PROCESS);
  AllowProcessItself(filter);
  AllowDescriptors(filter);
  // The dialler and published ports; the state file and the log it holds open; its children, by
  // descriptor.
  filter.Allow("accept4 bind connect listen ftruncate pidfd_send_signal wait4 waitid");
  AllowIpSockets(filter);
  for (const unsigned long request : {TUNGETIFF, TUNGETFEATURES, TUNSETOFFLOAD, TUNSETVNETHDRSZ}) {
    filter.AllowWhen("ioctl", {Equals(1, static_cast<int64_t>(request))});
  }
  return filter.Program();
}

std::vector<sock_filter> BrokerProgram() {
  FilterBuilder filter(SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_PROCESS);
  AllowProcessItself(filter);
  AllowDescriptors(filter);
  // Reading only; which files is Landlock's part.
  constexpr uint64_t kWriting = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
  filter.AllowWhen("open", {MaskedEquals(1, kWriting, O_RDONLY)});
  filter.AllowWhen("openat", {MaskedEquals(2, kWriting, O_RDONLY)});
  filter.Allow("access faccessat faccessat2 lstat readlink readlinkat stat statx");
  return filter.Program();
}

std::vector<sock_filter> OnlineBrokerProgram() {
  FilterBuilder filter(SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_PROCESS);
  AllowProcessItself(filter);
  AllowDescriptors(filter);
  filter.Allow("bind connect");  // The dialler binds to learn whether an address is the host's own.
  AllowIpSockets(filter);
  return filter.Program();
}

}  // namespace sallyport::seccomp
