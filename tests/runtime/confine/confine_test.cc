// Each test forks a child that confines itself and then tries something.

#include "runtime/confine/confine.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/unique_fd.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

namespace sallyport::runtime {
namespace {

using Catch::Matchers::Contains;
using Role = ConfineOptions::Role;

#ifdef SANITIZED
constexpr bool kSeccomp = false;
#else
constexpr bool kSeccomp = true;
#endif

enum class Who { kRoot, kUser };
constexpr uid_t kTestUser = 54321;

bool CanBe(Who who) {
  return who == Who::kUser || geteuid() == 0;
}

void Become(Who who) {
  if (who == Who::kRoot || geteuid() != 0) return;
  const bool done = setgroups(0, nullptr) == 0 && setresgid(kTestUser, kTestUser, kTestUser) == 0 &&
                    setresuid(kTestUser, kTestUser, kTestUser) == 0;
  if (!done) _exit(99);
}

/// "exit CODE" or "signal NUMBER".
std::string Wait(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status))
                           : "signal " + std::to_string(WTERMSIG(status));
}

/// How a child of WHO ends that confines itself and then exits with what ATTEMPT returns.
std::string Confined(Who who, const ConfineOptions& options, const std::function<int()>& attempt) {
  const pid_t pid = fork();
  if (pid == 0) {
    Become(who);
    const auto confined = Confine(options);
    if (!confined) {
      std::fprintf(stderr, "%s\n", confined.error().message().c_str());
      _exit(98);
    }
    if (confined->seccomp != kSeccomp) _exit(97);
    _exit(attempt());
  }
  return Wait(pid);
}

ConfineOptions Warden() {
  return {.role = Role::kWarden, .readable = {}};
}

/// What a forbidden call comes to: death, or in a sanitized build whatever else stops it.
void CheckStopped(const std::string& outcome) {
  CHECK(outcome == (kSeccomp ? "signal " + std::to_string(SIGSYS) : "exit 1"));
}

#define FOR_ROOT_AND_USER                           \
  const Who who = GENERATE(Who::kRoot, Who::kUser); \
  if (!CanBe(who)) return

TEST_CASE("a confined warden opens no file") {
  FOR_ROOT_AND_USER;
  CheckStopped(Confined(who, Warden(), [] { return open("/etc/passwd", O_RDONLY) < 0 ? 1 : 0; }));
  CheckStopped(Confined(who, Warden(), [] { return open("/", O_RDONLY) < 0 ? 1 : 0; }));
}

TEST_CASE("nothing of the host is left in a confined warden's root") {
  FOR_ROOT_AND_USER;
  CHECK(Confined(who, Warden(), [] {
          struct stat info;
          for (const char* path : {"/etc", "/proc", "/dev", "/tmp", "/usr", "/.."}) {
            if (stat(path, &info) == 0 && std::string_view(path) != "/..") return 1;
          }
          return stat("/", &info) == 0 && (info.st_mode & 0222) == 0 ? 0 : 2;
        }) == "exit 0");
}

TEST_CASE("a confined warden runs no program and makes no process") {
  if (!kSeccomp) return;
  FOR_ROOT_AND_USER;
  CheckStopped(Confined(who, Warden(), [] { return execl("/bin/true", "true", nullptr); }));
  CheckStopped(Confined(who, Warden(), [] { return fork() < 0 ? 1 : 0; }));
  CheckStopped(Confined(who, Warden(), [] {
    void* code = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code == MAP_FAILED ? 1 : 0;
  }));
}

TEST_CASE("a confined warden has IP sockets and no others") {
  if (!kSeccomp) return;
  FOR_ROOT_AND_USER;
  for (const int family : {AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK}) {
    CheckStopped(
        Confined(who, Warden(), [=] { return socket(family, SOCK_STREAM, 0) < 0 ? 1 : 0; }));
  }
  CheckStopped(Confined(who, Warden(), [] { return socket(AF_INET, SOCK_RAW, 1) < 0 ? 1 : 0; }));
  CHECK(Confined(who, Warden(), [] {
          return socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) < 0 ? 1 : 0;
        }) == "exit 0");
}

TEST_CASE("a confined warden connects to loopback") {
  FOR_ROOT_AND_USER;
  const UniqueFd server(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(bind(server.get(), generic, size) == 0);
  REQUIRE(listen(server.get(), 1) == 0);
  REQUIRE(getsockname(server.get(), generic, &size) == 0);
  CHECK(Confined(who, Warden(), [&] {
          const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
          return connect(client, generic, size) == 0 && send(client, "x", 1, 0) == 1 ? 0 : 1;
        }) == "exit 0");
}

TEST_CASE("a confined broker reads what it was given and nothing else") {
  FOR_ROOT_AND_USER;
  char name[] = "/tmp/sallyport-confine-XXXXXX";
  REQUIRE(mkdtemp(name) != nullptr);
  const std::string dir = name;
  std::filesystem::create_directories(dir + "/folder");
  std::ofstream(dir + "/file") << "one";
  std::ofstream(dir + "/folder/file") << "two";
  std::ofstream(dir + "/other") << "three";
  for (const char* path : {"", "/file", "/folder", "/folder/file"}) {
    chmod((dir + path).c_str(), 0755);
  }
  const ConfineOptions options{.role = Role::kBroker, .readable = {dir + "/file", dir + "/folder"}};
  CHECK(Confined(who, options, [&] {
          char text[4] = {};
          const int file = open((dir + "/file").c_str(), O_RDONLY | O_CLOEXEC);
          if (read(file, text, 3) != 3 || std::string_view(text) != "one") return 1;
          const int deep = open((dir + "/folder/file").c_str(), O_RDONLY | O_CLOEXEC);
          if (read(deep, text, 3) != 3 || std::string_view(text) != "two") return 2;
          for (const std::string& path : {dir + "/other", std::string("/etc/passwd"), dir}) {
            if (open(path.c_str(), O_RDONLY | O_CLOEXEC) >= 0) return 3;
          }
          return 0;
        }) == "exit 0");
  CheckStopped(Confined(who, options, [&] {
    return open((dir + "/file").c_str(), O_WRONLY | O_CLOEXEC) < 0 ? 1 : 0;
  }));
  if (kSeccomp) {
    CheckStopped(
        Confined(who, options, [] { return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 0; }));
  }
  std::filesystem::remove_all(dir);
}

TEST_CASE("a confined broker that asks servers has IP sockets, opens nothing and runs nothing") {
  FOR_ROOT_AND_USER;
  const ConfineOptions options{.role = Role::kOnlineBroker, .readable = {}};
  CHECK(Confined(who, options, [] {
          const UniqueFd stream(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
          const UniqueFd datagram(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
          sockaddr_in nobody{};
          nobody.sin_family = AF_INET;
          nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
          nobody.sin_port = htons(1);
          const int result =
              connect(stream.get(), reinterpret_cast<sockaddr*>(&nobody), sizeof nobody);
          const bool asked = result == 0 || errno == ECONNREFUSED;
          return stream.valid() && datagram.valid() && asked ? 0 : 1;
        }) == "exit 0");
  CheckStopped(Confined(who, options, [] { return open("/etc/passwd", O_RDONLY) < 0 ? 1 : 0; }));
  if (!kSeccomp) return;
  CheckStopped(Confined(who, options, [] { return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? 1 : 0; }));
  CheckStopped(Confined(who, options, [] {
    const UniqueFd server(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return listen(server.get(), 1);
  }));
  CheckStopped(Confined(who, options, [] { return fork() < 0 ? 1 : 0; }));
  CheckStopped(Confined(who, options, [] { return execl("/bin/true", "true", nullptr); }));
}

TEST_CASE("a confined process leaves no core and is not dumpable") {
  FOR_ROOT_AND_USER;
  CHECK(Confined(who, Warden(), [] {
          rlimit core{};
          getrlimit(RLIMIT_CORE, &core);
          return core.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == 0 ? 0 : 1;
        }) == "exit 0");
}

TEST_CASE("a failed check in a confined process is an abort, not a violation") {
  if (!kSeccomp) return;
  CHECK(Confined(Who::kUser, Warden(), []() -> int {
          signal(SIGABRT, SIG_DFL);  // Not the test framework's.
          std::abort();
        }) == "signal " + std::to_string(SIGABRT));
}

TEST_CASE("the number of open files is bounded") {
  ConfineOptions options = Warden();
  options.max_files = 64;
  CHECK(Confined(Who::kUser, options, [] {
          int last = 0;
          for (int next = 0; next >= 0; next = dup(0)) last = next;
          return last < 64 ? 0 : 1;
        }) == "exit 0");
}

/// A confined child that waits until it is killed.
class Waiting {
 public:
  explicit Waiting(Who who, const ConfineOptions& options = Warden()) {
    int ready[2];
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      Become(who);
      const auto confined = Confine(options);
      const char byte = confined ? 'y' : 'n';
      if (write(ready[1], &byte, 1) != 1) _exit(1);
      while (true) pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr);
    }
    close(ready[1]);
    char byte = 0;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    REQUIRE(byte == 'y');
  }
  ~Waiting() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  std::string Status() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  pid_t pid_;
};

TEST_CASE("a confined process has no capability and gets no new privilege") {
  FOR_ROOT_AND_USER;
  const Waiting child(who);
  const std::string status = child.Status();
  for (const char* line :
       {"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"}) {
    CHECK_THAT(status, Contains(line));
  }
  if (kSeccomp) CHECK_THAT(status, Contains("Seccomp:\t2"));
}

TEST_CASE("started as root, a confined process has an unprivileged id of its own") {
  if (!CanBe(Who::kRoot)) return;
  const Waiting child(Who::kRoot);
  const std::string status = child.Status();
  const size_t at = status.find("Uid:\t");
  REQUIRE(at != std::string::npos);
  const unsigned long uid = std::strtoul(status.c_str() + at + 5, nullptr, 10);
  CHECK(((uid >= kFirstConfinedId && uid < kFirstConfinedId + kConfinedIds) || uid == 65534));
  ConfineOptions options = Warden();
  options.uid = 0x70010000;
  const Waiting chosen(Who::kRoot, options);
  CHECK_THAT(chosen.Status(), Contains("Uid:\t1879113728\t1879113728\t1879113728\t1879113728"));
  CHECK_THAT(chosen.Status(), Contains("Gid:\t1879113728\t1879113728\t1879113728\t1879113728"));
}

TEST_CASE("another process of the same user can't trace a confined one") {
  const pid_t tracer = fork();
  if (tracer == 0) {
    Become(Who::kUser);
    const pid_t child = fork();
    int ready[2];
    if (child < 0 || pipe2(ready, O_CLOEXEC) != 0) _exit(1);
    if (child == 0) {
      // The tracer polls until the child is not dumpable, which comes after it could be traced.
      if (!Confine(Warden())) _exit(1);
      while (true) pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr);
    }
    // /proc/PID/environ follows the same rule as ptrace: readable until the child is confined.
    const std::string environment = "/proc/" + std::to_string(child) + "/environ";
    while (UniqueFd(open(environment.c_str(), O_RDONLY | O_CLOEXEC)).valid()) sched_yield();
    const bool traced = ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0;
    const int number = errno;
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    _exit(!traced && number == EPERM ? 0 : 2);
  }
  CHECK(Wait(tracer) == "exit 0");
}

TEST_CASE("the parent-death signal survives confinement") {
  FOR_ROOT_AND_USER;
  int report[2];
  REQUIRE(pipe2(report, O_CLOEXEC) == 0);
  const pid_t parent = fork();
  if (parent == 0) {
    Become(who);
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const pid_t pid = getpid();
      if (!Confine(Warden()) || write(report[1], &pid, sizeof pid) != sizeof pid) _exit(1);
      while (true) pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr);
    }
    while (true) pause();
  }
  close(report[1]);
  pid_t child = 0;
  const bool confined = read(report[0], &child, sizeof child) == sizeof child;
  close(report[0]);
  const UniqueFd watched(confined ? static_cast<int>(syscall(SYS_pidfd_open, child, 0)) : -1);
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  REQUIRE(confined);
  pollfd ended{watched.get(), POLLIN, 0};
  CHECK(poll(&ended, 1, 10000) == 1);
}

}  // namespace
}  // namespace sallyport::runtime
