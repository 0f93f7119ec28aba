#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>

#include <cerrno>

#include "runtime/seccomp/filter_builder.h"
#include "runtime/seccomp/rules.h"

namespace sallyport::seccomp {
namespace {

// Not CLONE_NEWTIME: in clone(2) its bit belongs to the exit signal.
constexpr uint32_t kNamespaceFlags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID |
                                     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

void AllowFiles(FilterBuilder& filter) {
  filter.Allow(
      "access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat "
      "faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync "
      "fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate "
      "futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init "
      "inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr "
      "lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat newfstatat open openat "
      "openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead "
      "readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr "
      "splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate "
      "umask unlink unlinkat utime utimensat utimes vmsplice write writev io_cancel io_destroy "
      "io_getevents io_pgetevents io_setup io_submit");
}

void AllowProcesses(FilterBuilder& filter) {
  filter.Allow(
      "capget capset chroot clone execve execveat exit exit_group fork futex futex_waitv "
      "get_robust_list getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid "
      "getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get "
      "ioprio_set kill membarrier personality pidfd_open pidfd_send_signal prctl prlimit64 "
      "ptrace restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo "
      "rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max "
      "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
      "sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr "
      "sched_setparam sched_setscheduler sched_yield set_robust_list set_tid_address setfsgid "
      "setfsuid setgid setgroups setpgid setpriority setregid setresgid setresuid setreuid "
      "setrlimit setsid setuid sigaltstack sysinfo tgkill times tkill uname vfork wait4 "
      "waitid arch_prctl get_thread_area set_thread_area");
  // Tighten only: further filters and rule sets of the program's own.
  filter.Allow("landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp");
}

void AllowMemoryAndEvents(FilterBuilder& filter) {
  filter.Allow(
      "brk madvise memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync "
      "munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease "
      "remap_file_pages mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink "
      "msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget "
      "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd "
      "eventfd2 pause poll ppoll pselect6 select signalfd signalfd4 adjtimex alarm "
      "clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer getrandom "
      "gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun "
      "timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime");
}

void AllowSockets(FilterBuilder& filter) {
  filter.Allow(
      "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg "
      "recvmsg sendmmsg sendmsg sendto setsockopt shutdown socket socketpair");
  // Every other family is reachable kernel code that no sandboxed program needs, and AF_VSOCK would
  // talk to the hypervisor past any policy. These errors, not ENOSYS, are what an absent module
  // gives: shadow-utils stops at ENOSYS from the audit netlink socket.
  filter.RefuseOthers("socket", 0, {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}, EAFNOSUPPORT);
  filter.RefuseOthersWhen("socket", 0, AF_NETLINK, 2, {NETLINK_ROUTE}, EPROTONOSUPPORT);
  // Neither SCTP nor MPTCP nor UDP-Lite: the gate speaks none of them.
  filter.RefuseOthersWhen("socket", 0, AF_INET, 2, {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP},
                          EPROTONOSUPPORT);
  filter.RefuseOthersWhen("socket", 0, AF_INET6, 2, {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6},
                          EPROTONOSUPPORT);
  filter.RefuseOthers("socketpair", 0, {AF_UNIX}, EAFNOSUPPORT);
}

}  // namespace

std::vector<sock_filter> GuestProgram() {
  FilterBuilder filter(SCMP_ACT_ERRNO(ENOSYS), SCMP_ACT_ERRNO(ENOSYS));
  AllowFiles(filter);
  AllowProcesses(filter);
  AllowMemoryAndEvents(filter);
  AllowSockets(filter);
  // What exists on every kernel and is only ever refused: programs expect EPERM of these. The rest
  // that is not allowed (clone3, io_uring, keyctl, bpf, userfaultfd, the new mount calls,
  // process_vm_*, open_by_handle_at) answers ENOSYS: glibc then takes clone(2), whose flags are
  // visible here, and libraries take their way without.
  filter.Refuse(
      EPERM,
      "acct delete_module finit_module init_module kexec_load mount perf_event_open "
      "pivot_root quotactl reboot setdomainname sethostname setns settimeofday clock_settime "
      "swapoff swapon syslog umount2 unshare vhangup");
  filter.RefuseBits("clone", 0, kNamespaceFlags, EPERM);
  // Typing into the terminal of whoever started us.
  filter.RefuseValues("ioctl", 1, {TIOCSTI, TIOCLINUX}, EPERM);
  filter.RefuseOthers("personality", 0,
                      {PER_LINUX, PER_LINUX32, UNAME26, uint32_t{PER_LINUX32} | uint32_t{UNAME26},
                       ADDR_NO_RANDOMIZE, 0xffffffff},
                      EPERM);
  return filter.Program();
}

}  // namespace sallyport::seccomp
