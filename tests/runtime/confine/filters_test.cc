// What the guest's seccomp filter answers, and that ordinary programs don't notice it. The attacks
// are in tests/adversarial/probe.c.

#include "runtime/seccomp/filters.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <functional>

namespace sallyport {
namespace {

void Install(std::span<const sock_filter> filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    _exit(99);
  }
}

/// The errno of ATTEMPT under the guest's filter; 0 when it did not return -1.
int Errno(const std::function<long()>& attempt) {
  const pid_t pid = fork();
  if (pid == 0) {
    Install(GuestFilter());
    errno = 0;
    _exit(attempt() == -1 ? errno : 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// The exit status of a shell COMMAND under the guest's filter.
int Shell(const char* command) {
  const pid_t pid = fork();
  if (pid == 0) {
    Install(GuestFilter());
    execl("/bin/sh", "sh", "-c", command, nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_CASE("socket families that nobody needs look like absent modules") {
  for (const int family : {AF_PACKET, AF_VSOCK, AF_ALG, AF_XDP, AF_TIPC, AF_KEY, 0, 4711, -1}) {
    CHECK(Errno([=] { return socket(family, SOCK_STREAM, 0); }) == EAFNOSUPPORT);
  }
  for (const int family : {AF_UNIX, AF_INET, AF_INET6}) {
    CHECK(Errno([=] { return socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0); }) == 0);
  }
  CHECK(Errno([] { return syscall(SYS_socket, (1L << 32) | AF_VSOCK, SOCK_STREAM, 0); }) ==
        EAFNOSUPPORT);
  int pair[2];
  CHECK(Errno([&] { return socketpair(AF_UNIX, SOCK_STREAM, 0, pair); }) == 0);
  CHECK(Errno([&] { return socketpair(AF_TIPC, SOCK_STREAM, 0, pair); }) == EAFNOSUPPORT);
}

TEST_CASE("netlink is for routes, and says so in the way that shadow-utils accepts") {
  CHECK(Errno([] { return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }) == 0);
  for (const int protocol : {NETLINK_AUDIT, NETLINK_NETFILTER, NETLINK_GENERIC, 99}) {
    CHECK(Errno([=] { return socket(AF_NETLINK, SOCK_RAW, protocol); }) == EPROTONOSUPPORT);
  }
}

TEST_CASE("transports that the gate does not speak are not supported") {
  for (const int protocol : {132 /* SCTP */, 262 /* MPTCP */, 136 /* UDP-Lite */}) {
    CHECK(Errno([=] { return socket(AF_INET, SOCK_STREAM, protocol); }) == EPROTONOSUPPORT);
    CHECK(Errno([=] { return socket(AF_INET6, SOCK_STREAM, protocol); }) == EPROTONOSUPPORT);
  }
}

TEST_CASE("clone3 does not exist, so that clone's visible flags are used") {
  CHECK(Errno([] { return syscall(SYS_clone3, nullptr, 0); }) == ENOSYS);
  CHECK(Errno([] { return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }) == EPERM);
  CHECK(Errno([] { return syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0); }) == EPERM);
  CHECK(Errno([] { return syscall(SYS_unshare, CLONE_NEWUSER); }) == EPERM);
  CHECK(Errno([]() -> long {
          const pid_t pid = fork();
          if (pid == 0) _exit(0);
          return pid;
        }) == 0);
}

TEST_CASE("nothing is typed into terminals, whatever the high bits") {
  const int terminal = open("/dev/null", O_RDWR | O_CLOEXEC);
  char byte = 'x';
  for (const unsigned long high : {0UL, 1UL << 32, ~0UL << 32}) {
    CHECK(Errno([&] { return syscall(SYS_ioctl, terminal, high | TIOCSTI, &byte); }) == EPERM);
    CHECK(Errno([&] { return syscall(SYS_ioctl, terminal, high | TIOCLINUX, &byte); }) == EPERM);
  }
  winsize size{};
  CHECK(Errno([&] { return ioctl(terminal, TIOCGWINSZ, &size); }) == ENOTTY);
  CHECK(Errno([&] { return ioctl(terminal, TIOCSTI - 1, &byte); }) == ENOTTY);
  CHECK(Errno([&] { return ioctl(terminal, TIOCSTI + 1, &byte); }) == ENOTTY);
  close(terminal);
}

TEST_CASE("personalities are those of ordinary programs") {
  CHECK(Errno([] { return personality(0xffffffff); }) == 0);
  CHECK(Errno([] { return personality(ADDR_NO_RANDOMIZE); }) == 0);
  CHECK(Errno([] { return personality(READ_IMPLIES_EXEC); }) == EPERM);
}

TEST_CASE("facilities are absent and administration is refused") {
  for (const long call : {SYS_io_uring_setup, SYS_bpf, SYS_userfaultfd, SYS_keyctl, SYS_fsopen,
                          SYS_process_vm_readv, SYS_open_by_handle_at, SYS_pidfd_getfd}) {
    CHECK(Errno([=] { return syscall(call, 0, 0, 0, 0, 0); }) == ENOSYS);
  }
  for (const long call : {SYS_mount, SYS_umount2, SYS_setns, SYS_reboot, SYS_init_module,
                          SYS_perf_event_open, SYS_syslog, SYS_swapon}) {
    CHECK(Errno([=] { return syscall(call, 0, 0, 0, 0, 0); }) == EPERM);
  }
  CHECK(Errno([] { return syscall(100000); }) == ENOSYS);
}

TEST_CASE("ordinary programs run under the guest's filter") {
  CHECK(
      Shell("ls / > /dev/null && echo a | sort | grep -q a && find /etc -maxdepth 1 > /dev/null") ==
      0);
  CHECK(
      Shell("perl -e 'fork; wait; exit 0' && tar --version > /dev/null && mktemp -u > /dev/null") ==
      0);
  CHECK(Shell("command -v python3 > /dev/null || exit 0; "
              "python3 -c 'import threading, socket, subprocess; "
              "t = threading.Thread(target=lambda: subprocess.run([\"true\"])); t.start(); "
              "t.join()'") == 0);
}

}  // namespace
}  // namespace sallyport
