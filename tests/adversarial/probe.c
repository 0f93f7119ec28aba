// Tries, from inside a sandbox, what no program in it may do. Prints a line for each attempt and
// exits with the number of those that worked:
//
//     denied   unshare a user namespace: Operation not permitted
//     ALLOWED  open /dev/kvm
//
// An attempt that has no meaning on this architecture is not made. Attempts that show the probe
// itself to be sound, as every program may do them, are "works" or "BROKEN".

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void Deny(const char* what, long result) {
  const int number = errno;
  if (result >= 0) ++failures;
  printf(result < 0 ? "denied   %s: %s\n" : "ALLOWED  %s\n", what, strerror(number));
}

static void Work(const char* what, long result) {
  const int number = errno;
  if (result < 0) ++failures;
  printf(result < 0 ? "BROKEN   %s: %s\n" : "works    %s\n", what, strerror(number));
}

static void DenyOpen(const char* path, int flags) {
  char what[128];
  snprintf(what, sizeof what, "open %s%s", path,
           (flags & O_ACCMODE) == O_RDONLY ? "" : " to write");
  Deny(what, open(path, flags));
}

// Opening it may work, but there must be nothing in it.
static void DenyRead(const char* path) {
  char what[128];
  char byte;
  snprintf(what, sizeof what, "read %s", path);
  const int file = open(path, O_RDONLY);
  const long got = file < 0 ? -1 : read(file, &byte, 1);
  if (got == 0) errno = ENODATA;
  Deny(what, got > 0 ? got : -1);
  if (file >= 0) close(file);
}

static long Clone(unsigned long flags) {
  const long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}

static long Clone3(uint64_t flags) {
  uint64_t arguments[11] = {flags, 0, 0, 0, SIGCHLD};
  const long pid = syscall(SYS_clone3, arguments, sizeof arguments);
  if (pid == 0) _exit(0);
  return pid;
}

static void Namespaces(void) {
  Deny("unshare a user namespace", syscall(SYS_unshare, CLONE_NEWUSER));
  Deny("unshare a mount namespace", syscall(SYS_unshare, CLONE_NEWNS));
  Deny("clone into a user namespace", Clone(CLONE_NEWUSER));
  Deny("clone into a network namespace", Clone(CLONE_NEWNET));
  Deny("clone3 into a user namespace", Clone3(CLONE_NEWUSER));
  const int net = open("/proc/1/ns/net", O_RDONLY);
  Deny("join PID 1's network namespace", net < 0 ? -1 : setns(net, CLONE_NEWNET));
  const int own = open("/proc/self/ns/net", O_RDONLY);
  Deny("join a namespace at all", setns(own, CLONE_NEWNET));
  Deny("set the host name", sethostname("x", 1));
}

static void FileSystems(void) {
  Deny("mount a tmpfs", mount("t", "/mnt", "tmpfs", 0, NULL));
  Deny("bind-mount", mount("/tmp", "/mnt", NULL, MS_BIND, NULL));
  Deny("unmount /proc/sys", umount2("/proc/sys", MNT_DETACH));
  Deny("make /proc/sys writable", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
  Deny("make /sys writable", mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
  Deny("pivot_root", syscall(SYS_pivot_root, "/", "/"));
  Deny("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  Deny("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
  Deny("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, NULL, 0));
  Deny("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
  Deny("make a block device", mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0)));
  Deny("make a character device", mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)));
  Deny("swap on", syscall(SYS_swapon, "/tmp/x", 0));
}

static void Kernel(void) {
  char parameters[256] = {0};
  Deny("io_uring", syscall(SYS_io_uring_setup, 4, parameters));
  Deny("bpf", syscall(SYS_bpf, 0, NULL, 0));
  Deny("perf_event_open", syscall(SYS_perf_event_open, parameters, 0, -1, -1, 0));
  Deny("userfaultfd", syscall(SYS_userfaultfd, 0));
  Deny("keyctl", syscall(SYS_keyctl, 0, -3, 1));
  Deny("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
  Deny("request_key", syscall(SYS_request_key, "user", "x", NULL, 0));
  Deny("load a module", syscall(SYS_init_module, "", 0, ""));
  Deny("load a kernel", syscall(SYS_kexec_load, 0, 0, NULL, 0));
  Deny("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
  Deny("read the kernel's log", syscall(SYS_syslog, 3, parameters, sizeof parameters));
  Deny("set the clock", syscall(SYS_settimeofday, NULL, NULL));
  Deny("process accounting", syscall(SYS_acct, "/tmp/acct"));
  Deny("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
  Deny("personality READ_IMPLIES_EXEC", personality(READ_IMPLIES_EXEC));
#if defined(__x86_64__)
  Deny("ioperm", syscall(SYS_ioperm, 0, 1, 1));
  Deny("iopl", syscall(SYS_iopl, 3));
  Deny("modify_ldt", syscall(SYS_modify_ldt, 0, parameters, sizeof parameters));
  Deny("an x32 system call", syscall(0x40000000 | SYS_getpid));
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
  errno = result < 0 ? (int)-result : 0;
  Deny("an i386 system call", result);
#endif
}

static void Processes(void) {
  Deny("trace PID 1", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
  DenyOpen("/proc/1/mem", O_RDWR);
  DenyOpen("/proc/1/environ", O_RDONLY);
  DenyOpen("/proc/1/exe", O_WRONLY);
  DenyOpen("/proc/1/root/tmp", O_RDONLY);
  DenyOpen("/proc/1/fd/3", O_RDWR);
  Deny("process_vm_readv", syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
  const long pidfd = syscall(SYS_pidfd_open, 1, 0);
  Deny("take PID 1's socket", syscall(SYS_pidfd_getfd, pidfd, 3, 0));
  Deny("compare kernel objects", syscall(SYS_kcmp, 1, 1, 0, 0, 0));
  // The kernel takes these, and PID 1 never sees them: it must still answer afterwards.
  Work("send SIGKILL to PID 1, in vain", kill(1, SIGKILL));
  Work("send SIGSTOP to PID 1, in vain", kill(1, SIGSTOP));
}

static void Sockets(void) {
  const struct {
    const char* what;
    int family, type, protocol;
  } denied[] = {
      {"a packet socket", AF_PACKET, SOCK_RAW, 0},
      {"a packet socket by its old name", AF_INET, SOCK_PACKET, 0},
      {"a vsock socket, to the hypervisor", 40, SOCK_STREAM, 0},
      {"a crypto socket", 38, SOCK_SEQPACKET, 0},
      {"an XDP socket", 44, SOCK_RAW, 0},
      {"a key socket", AF_KEY, SOCK_RAW, 2},
      {"a bluetooth socket", 31, SOCK_RAW, 1},
      {"a CAN socket", 29, SOCK_RAW, 1},
      {"a TIPC socket", 30, SOCK_STREAM, 0},
      {"an SMC socket", 43, SOCK_STREAM, 0},
      {"a KCM socket", 41, SOCK_SEQPACKET, 0},
      {"an RDS socket", 21, SOCK_SEQPACKET, 0},
      {"an NFC socket", 39, SOCK_STREAM, 0},
      {"a netfilter netlink socket", AF_NETLINK, SOCK_RAW, 12},
      {"an audit netlink socket", AF_NETLINK, SOCK_RAW, 9},
      {"a generic netlink socket", AF_NETLINK, SOCK_RAW, 16},
      {"a uevent netlink socket", AF_NETLINK, SOCK_RAW, 15},
      {"a raw ICMP socket", AF_INET, SOCK_RAW, IPPROTO_ICMP},
      {"a raw IPv6 socket", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
      {"an SCTP socket", AF_INET, SOCK_STREAM, 132},
      {"an MPTCP socket", AF_INET, SOCK_STREAM, 262},
      {"a UDP-Lite socket", AF_INET, SOCK_DGRAM, 136},
  };
  for (size_t i = 0; i < sizeof denied / sizeof *denied; ++i) {
    Deny(denied[i].what, socket(denied[i].family, denied[i].type, denied[i].protocol));
  }
  Deny("a vsock socket with high bits",
       syscall(SYS_socket, (1UL << 32) | 40, (long)SOCK_STREAM, 0L));
  int pair[2];
  Deny("a TIPC socket pair", socketpair(30, SOCK_STREAM, 0, pair));
  Work("a TCP socket", socket(AF_INET, SOCK_STREAM, 0));
  Work("a unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
  Work("a route netlink socket", socket(AF_NETLINK, SOCK_RAW, 0));
}

static void Network(void) {
  const int udp = socket(AF_INET, SOCK_DGRAM, 0);
  const int mark = 1;
  struct ifreq request;
  Deny("mark packets", setsockopt(udp, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, "lo");
  Deny("take an interface down", ioctl(udp, SIOCSIFFLAGS, &request));
  Deny("rename an interface", ioctl(udp, SIOCSIFNAME, &request));
  struct sockaddr_un host = {.sun_family = AF_UNIX};
  // Every system with a session bus, X or containerd has one of these.
  const char* names[] = {"\0/tmp/dbus-probe", "\0/tmp/.X11-unix/X0", "\0/containerd-shim/probe"};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
    memcpy(host.sun_path, names[i], 18);
    Deny("connect to an abstract socket of the host",
         connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr*)&host,
                 offsetof(struct sockaddr_un, sun_path) + 18));
  }
}

static void Terminal(void) {
  char byte = 'x';
  int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  Work("open a terminal of its own", terminal);
  Deny("type into a terminal", ioctl(terminal, TIOCSTI, &byte));
  Deny("type into a terminal with high bits",
       syscall(SYS_ioctl, (long)terminal, (1UL << 32) | TIOCSTI, &byte));
  Deny("paste into a console", ioctl(terminal, TIOCLINUX, &byte));
  DenyOpen("/dev/console", O_RDWR);
}

static void Files(void) {
  const char* absent[] = {
      "/dev/kvm",
      "/dev/net/tun",
      "/dev/fuse",
      "/dev/mem",
      "/dev/kmsg",
      "/dev/vsock",
      "/etc/shadow",
      "/etc/gshadow",
      "/etc/sudoers",
      "/etc/ssh",
      "/etc/krb5.keytab",
      "/etc/machine-id",
      "/etc/ssl/private",
      "/etc/pki/tls/private",
      "/root/.ssh",
      "/root/.bashrc",
      "/run/docker.sock",
      "/var/run/docker.sock",
      "/run/podman",
      "/run/systemd",
      "/run/dbus",
      "/run/user",
      "/boot/grub",
      "/oldroot",
      "/up",
      "/low",
      "/.dockerenv",
  };
  for (size_t i = 0; i < sizeof absent / sizeof *absent; ++i) DenyOpen(absent[i], O_RDONLY);
  const char* unwritable[] = {
      "/proc/sys/kernel/core_pattern",
      "/proc/sys/kernel/modprobe",
      "/proc/sysrq-trigger",
      "/proc/sys/net/ipv4/ip_forward",
      "/proc/sys/user/max_user_namespaces",
      "/proc/sys/net/ipv4/ping_group_range",
      "/sys/kernel/mm/ksm/run",
  };
  for (size_t i = 0; i < sizeof unwritable / sizeof *unwritable; ++i) {
    DenyOpen(unwritable[i], O_WRONLY);
  }
  const char* empty[] = {"/proc/kallsyms",   "/proc/keys",        "/proc/key-users",
                         "/proc/kcore",      "/proc/kmsg",        "/proc/timer_list",
                         "/proc/interrupts", "/proc/vmallocinfo", "/proc/kpagecount"};
  for (size_t i = 0; i < sizeof empty / sizeof *empty; ++i) DenyRead(empty[i]);
}

static void Descriptors(void) {
  for (int fd = 3; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) continue;
    char what[64];
    snprintf(what, sizeof what, "descriptor %d was left open", fd);
    Deny(what, 0);
  }
  Work("open /dev/null", open("/dev/null", O_RDWR));
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  Descriptors();  // First: the others open some.
  Namespaces();
  FileSystems();
  Kernel();
  Processes();
  Sockets();
  Network();
  Terminal();
  Files();
  printf("%d too many\n", failures);
  return failures > 255 ? 255 : failures;
}
