#include "tests/guest/test_sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sallyport::guest {
namespace {

constexpr int kWaitMs = 60'000;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "test sandbox: %s: %s\n", what, std::strerror(errno));
  _exit(126);
}

void Must(bool done, const char* what) {
  if (!done) Die(what);
}

void WriteTo(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  Must(fd.valid(), path.c_str());
  Must(write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()),
       path.c_str());
}

void MapToRoot(uid_t uid, gid_t gid) {
  WriteTo("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
  WriteTo("/proc/self/setgroups", "deny");
  WriteTo("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
}

void MakeParents(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    mkdir(path.substr(0, at).c_str(), 0755);
  }
}

void BindDevice(const char* name) {
  const std::string target = std::string("dev/") + name;
  WriteTo(target, "");
  const std::string source = std::string("/dev/") + name;
  Must(mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) == 0, source.c_str());
}

// In the new root, which is the working directory.
void MountSystem() {
  for (const char* name : {"usr", "proc", "dev", "etc", "run", "tmp", "root"}) mkdir(name, 0755);
  Must(mount("/usr", "usr", nullptr, MS_BIND | MS_REC, nullptr) == 0, "/usr");
  for (const char* name : {"bin", "sbin", "lib", "lib64"}) {
    Must(symlink((std::string("usr/") + name).c_str(), name) == 0, name);
  }
  Must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0, "proc");
  for (const char* name : {"null", "zero", "urandom", "tty"}) BindDevice(name);
  mkdir("dev/pts", 0755);
  Must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
             "newinstance,ptmxmode=0666,mode=0620") == 0,
       "devpts");
  Must(symlink("pts/ptmx", "dev/ptmx") == 0, "ptmx");
}

void EnterRoot(const std::string& root, const TestSandbox::Options& options) {
  Must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
  Must(mount("root", root.c_str(), "tmpfs", 0, "mode=0755") == 0, "tmpfs");
  Must(chdir(root.c_str()) == 0, "chdir");
  MountSystem();
  for (const auto& [path, content] : options.files) {
    MakeParents(root + path);
    WriteTo(root + path, content);
  }
  for (const auto& [path, target] : options.links) {
    MakeParents(root + path);
    Must(symlink(target.c_str(), (root + path).c_str()) == 0, path.c_str());
  }
  if (!options.read_only.empty()) {
    const std::string path = root + options.read_only;
    constexpr unsigned long kReadOnly = MS_REMOUNT | MS_BIND | MS_RDONLY;
    Must(mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0, path.c_str());
    Must(mount(nullptr, path.c_str(), nullptr, kReadOnly, nullptr) == 0, path.c_str());
  }
  if (!options.mounted.empty()) {
    const std::string path = root + options.mounted;
    Must(mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0, path.c_str());
  }
  if (!options.fifo.empty()) {
    MakeParents(root + options.fifo);
    Must(mkfifo((root + options.fifo).c_str(), 0644) == 0, "mkfifo");
  }
  Must(syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
  Must(umount2(".", MNT_DETACH) == 0, "umount");
  Must(chdir("/") == 0, "chdir /");
}

[[noreturn]] void BecomeAgent(const std::string& root, const TestSandbox::Options& options,
                              int connection, uid_t uid, gid_t gid) {
  MapToRoot(uid, gid);
  const int agent = open(SALLYPORT_AGENT, O_RDONLY | O_CLOEXEC);
  Must(agent >= 0, SALLYPORT_AGENT);
  EnterRoot(root, options);
  // Away from 3 first, if the agent's file has that number.
  const int high = fcntl(agent, F_DUPFD_CLOEXEC, 10);
  Must(high >= 0 && dup2(connection, 3) == 3, "dup2");
  fcntl(3, F_SETFD, 0);  // If it had that number already, it still closes on exec.
  char name[] = "sandbox-agent";
  char* argv[] = {name, nullptr};
  char* envp[] = {nullptr};
  syscall(SYS_execveat, high, "", argv, envp, AT_EMPTY_PATH);
  Die("execveat");
}

pid_t ForkIntoNamespaces() {
  constexpr unsigned long kFlags =
      CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | SIGCHLD;
  return static_cast<pid_t>(syscall(SYS_clone, kFlags, nullptr, nullptr, nullptr, nullptr));
}

bool Probe() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  const pid_t pid = ForkIntoNamespaces();
  if (pid < 0) return false;
  if (pid == 0) {
    MapToRoot(uid, gid);
    Must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
    Must(mount("proc", "/proc", "proc", 0, nullptr) == 0, "proc");
    _exit(0);
  }
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

bool TestSandbox::Possible() {
  static const bool possible = Probe();
  if (!possible) WARN("skipped: this host does not allow user namespaces");
  return possible;
}

TestSandbox::TestSandbox(const Options& options) {
  char root[] = "/tmp/sallyport-agent-test-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  root_ = root;
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  connection_ = UniqueFd(pair[0]);
  const UniqueFd theirs(pair[1]);
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  pid_ = ForkIntoNamespaces();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) BecomeAgent(root_, options, theirs.get(), uid, gid);
}

TestSandbox::~TestSandbox() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  rmdir(root_.c_str());
}

int TestSandbox::WaitForEnd() {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (poll(&ended, 1, kWaitMs) != 1) return -1;
  int status = 0;
  const pid_t reaped = waitpid(pid_, &status, 0);
  pid_ = -1;
  return reaped > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace sallyport::guest
