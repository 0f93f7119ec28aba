// Starting and ending: links, lifetimes, and what a failure says and leaves behind.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <fstream>

#include "runtime/confine/confine.h"
#include "tests/runtime/backend/frames.h"
#include "tests/runtime/backend/sandbox.h"

namespace sallyport::runtime {
namespace {

using namespace testing;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using Link = NamespaceOptions::Link;

#define FOR_ROOT_AND_USER                           \
  const Who who = GENERATE(Who::kRoot, Who::kUser); \
  if (!CanStart(who)) return

/// What the link of a new sandbox carries: "tap: udp arp echo echo6".
std::string Traffic(const NamespaceOptions& options) {
  auto sandbox = Sandbox::Start(BasicSpec(), options);
  if (!sandbox) return sandbox.error().message();
  Workload& workload = sandbox->workload();
  std::string seen = std::string(ToString(workload.link_kind)) + ":";
  sandbox->Run("plain", {"bash", "-c", "echo hello > /dev/udp/10.0.2.2/4321"});
  const auto is_udp = [](std::string_view frame) { return IsUdpTo(frame, 4321); };
  if (!AwaitFrame(workload, is_udp).empty()) seen += " udp";
  sandbox->Run("plain", {"bash", "-c", "echo hello > /dev/udp/10.0.2.99/4321"});
  if (!AwaitFrame(workload, IsArpRequest).empty()) seen += " arp";
  if (SendFrame(workload, EchoRequest()) && !AwaitFrame(workload, IsEchoReply).empty()) {
    seen += " echo";
  }
  if (SendFrame(workload, EchoRequestV6()) && !AwaitFrame(workload, IsEchoReplyV6).empty()) {
    seen += " echo6";
  }
  return seen;
}

std::string Interfaces(const NamespaceOptions& options, bool network) {
  WorkloadSpec spec = BasicSpec();
  spec.network = network;
  auto sandbox = Sandbox::Start(spec, options);
  if (!sandbox) return sandbox.error().message();
  // The kernel may add the fallback devices of tunnels; they are down and stay so.
  std::string names = sandbox->Shell(
      "cd /sys/class/net; for i in *; do "
      "test $(( $(cat $i/flags) & 1 )) = 1 && echo $i; done | tr '\\n' ' '");
  return std::string(ToString(sandbox->workload().link_kind)) + " " + names +
         (sandbox->workload().link.valid() ? "link" : "no link");
}

TEST_CASE("frames go both ways over the TAP") {
  if (!CanStart(Who::kRoot) || access("/dev/net/tun", R_OK | W_OK) != 0) return;
  CHECK(As(Who::kRoot, [] { return Traffic({}); }) == "tap: udp arp echo echo6");
}

TEST_CASE("frames go both ways over the packet link") {
  FOR_ROOT_AND_USER;
  NamespaceOptions options;
  options.link = Link::kPacket;
  CHECK(As(who, [&] { return Traffic(options); }) == "packet: udp arp echo echo6");
}

TEST_CASE("a tun node that can't be opened leads to the packet link") {
  FOR_ROOT_AND_USER;
  NamespaceOptions options;
  options.tun_node = "/dev/null/tun";
  CHECK(As(who, [&] { return Interfaces(options, true); }) == "packet eth0 lo link");
}

TEST_CASE("a TAP that was asked for is an error where there is no tun node") {
  FOR_ROOT_AND_USER;
  NamespaceOptions options;
  options.link = Link::kTap;
  options.tun_node = "/dev/does-not-exist";
  CHECK_THAT(As(who, [&] { return StartError(BasicSpec(), options); }),
             StartsWith("bringing up the network: /dev/does-not-exist: No such file or directory"));
}

TEST_CASE("without a network there is lo and nothing else") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, [] { return Interfaces({}, false); }) == "none lo no link");
}

TEST_CASE("the link does not block") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          auto sandbox = Sandbox::Start(BasicSpec());
          if (!sandbox) return sandbox.error().message();
          const int flags = fcntl(sandbox->workload().link.get(), F_GETFL);
          return (flags & O_NONBLOCK) != 0 ? "non-blocking" : "blocking";
        }) == "non-blocking");
}

/// Starts a stubborn sandbox in a child that is WHO and, if CONFINED, confines itself like a
/// warden; kills that child, and says whether PID 1 of the sandbox ended.
std::string EndsWithItsLauncher(Who who, bool confined) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return "no pipe";
  const std::string agent = BasicSpec().agent_path;  // Made here, so that it outlives the child.
  const pid_t launcher = fork();
  if (launcher == 0) {
    As(who, [&]() -> std::string {
      auto sandbox = Sandbox::Start(BasicSpec());
      if (!sandbox) return "";
      sandbox->Run("stubborn", {});
      const pid_t pids[] = {getpid(), sandbox->workload().pid};
      if (confined && !Confine({.readable = {}, .uid = sandbox->workload().uid})) return "";
      if (write(report[1], pids, sizeof pids) < 0) return "";
      while (true) pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr);
    });
    _exit(0);
  }
  close(report[1]);
  pid_t pids[2] = {};
  const bool reported = read(report[0], pids, sizeof pids) == sizeof pids;
  close(report[0]);
  std::string result = "did not start";
  if (reported) {
    const UniqueFd first(static_cast<int>(syscall(SYS_pidfd_open, pids[1], 0)));
    kill(pids[0], SIGKILL);
    pollfd ended{first.get(), POLLIN, 0};
    result = poll(&ended, 1, 10000) == 1 ? "ended" : "lives on";
    if (result == "lives on") kill(pids[1], SIGKILL);
  }
  waitpid(launcher, nullptr, 0);
  return result;
}

TEST_CASE("a sandbox ends when its launcher is killed, even if the agent does not notice") {
  FOR_ROOT_AND_USER;
  CHECK(EndsWithItsLauncher(who, false) == "ended");
}

TEST_CASE("a sandbox ends with a launcher that has confined itself") {
  FOR_ROOT_AND_USER;
  CHECK(EndsWithItsLauncher(who, true) == "ended");
}

TEST_CASE("the agent ends when its socket does") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          auto sandbox = Sandbox::Start(BasicSpec());
          if (!sandbox) return sandbox.error().message();
          sandbox->workload().agent.reset();
          pollfd ended{sandbox->workload().pidfd.get(), POLLIN, 0};
          return poll(&ended, 1, 10000) == 1 ? "ended" : "lives on";
        }) == "ended");
}

/// The error of a start, and what it left behind of processes and mounts.
std::string ErrorAndTraces(const WorkloadSpec& spec, const NamespaceOptions& options = {}) {
  const auto mounts = [] {
    std::ifstream file("/proc/self/mounts");
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string before = mounts();
  const int next_fd = dup(0);
  close(next_fd);
  std::string error = StartError(spec, options);
  if (waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) error += " [a process is left]";
  if (mounts() != before) error += " [a mount is left]";
  const int fd_after = dup(0);
  if (fd_after != next_fd) error += " [a descriptor is left]";
  close(fd_after);
  return error;
}

TEST_CASE("a failed start says which step failed and leaves nothing behind") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  std::ofstream(dir / "not-a-program") << "text";
  WorkloadSpec spec = BasicSpec();
  spec.agent_path = dir / "not-a-program";
  CHECK(As(who, [&] { return ErrorAndTraces(spec); }) ==
        "starting the agent: " + spec.agent_path + ": Permission denied");
  chmod(spec.agent_path.c_str(), 0755);
  CHECK(As(who, [&] { return ErrorAndTraces(spec); }) ==
        "starting the agent: " + spec.agent_path + ": Exec format error");
  spec.agent_path = dir / "missing";
  CHECK(As(who, [&] { return ErrorAndTraces(spec); }) ==
        "opening the agent " + spec.agent_path + ": No such file or directory");
}

TEST_CASE("a sandbox that is begun and never described leaves nothing behind") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          auto starting = NewNamespaceBackend({})->Begin();
          if (!starting) return starting.error().message();
          starting->reset();
          return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD ? "nothing" : "a process";
        }) == "nothing");
}

TEST_CASE("a start that was begun before an exec goes on behind it") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          const auto words = BeginBeforeExec({}, 100);
          if (!words) return words.error().message();
          auto starting = ContinueNamespaceStart({}, 100, *words);
          if (!starting) return starting.error().message();
          auto described = (*starting)->Describe(BasicSpec());
          if (!described) return described.error().message();
          auto workload = (*starting)->Await();
          if (!workload) return workload.error().message();
          return Sandbox::Of(std::move(*workload)).Shell("echo up");
        }) == "up");
}

TEST_CASE("the numbers that a begun start is handed over by may be its own already") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          const int first = dup(0);
          close(first);
          const auto words = BeginBeforeExec({}, first);
          if (!words) return words.error().message();
          auto starting = ContinueNamespaceStart({}, first, *words);
          if (!starting) return starting.error().message();
          starting->reset();
          return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD ? "nothing" : "a process";
        }) == "nothing");
}

TEST_CASE("a begun start ends with a process that does not go on") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          prctl(PR_SET_CHILD_SUBREAPER, 1);
          const pid_t launcher = fork();
          if (launcher == 0) _exit(BeginBeforeExec({}, 100) ? 0 : 1);
          int status = 0;
          if (waitpid(launcher, &status, 0) != launcher || status != 0) return "not begun";
          // By the signal, or by itself where it had not come to ask for that. For ever, if it
          // lived on.
          return wait(&status) > 0 ? "ended" : "not ours";
        }) == "ended");
}

TEST_CASE("what was not begun does not go on") {
  CHECK(As(Who::kUser, []() -> std::string {
          std::string continued;
          for (const char* words : {"", "x", "0 0", "1 0", "-7 0", "12345 0"}) {
            if (ContinueNamespaceStart({}, 100, words)) continued += words;
          }
          return "continued: " + continued;
        }) == "continued: ");
}

TEST_CASE("a mistake in the description is told in the user's words, and nothing is left") {
  FOR_ROOT_AND_USER;
  WorkloadSpec spec = BasicSpec();
  spec.hostname = "two words";
  CHECK(As(who, [&] { return ErrorAndTraces(spec); }) == "\"two words\" is not a host name");
}

TEST_CASE("a host without user namespaces is told what to change") {
  if (!CanStart(Who::kRoot)) return;
  // Inside a sandbox more namespaces are forbidden: the very case, without changing the host.
  const std::string out = As(Who::kRoot, []() -> std::string {
    auto sandbox = Sandbox::Start(BasicSpec());
    return sandbox ? sandbox->Shell("cat /proc/sys/user/max_user_namespaces; unshare -U true")
                   : sandbox.error().message();
  });
  CHECK_THAT(out, StartsWith("0\n"));
  CHECK_THAT(out, Contains("No space left on device"));
}

TEST_CASE("a sandbox does not pace what it sends to its gate, whatever the host does elsewhere") {
  FOR_ROOT_AND_USER;
  CHECK(As(who, []() -> std::string {
          auto sandbox = Sandbox::Start(BasicSpec());
          return sandbox ? sandbox->Shell("cat /proc/sys/net/ipv4/tcp_congestion_control")
                         : sandbox.error().message();
        }) == "reno");
}

TEST_CASE("sandboxes of root have different ids at the same time") {
  if (!CanStart(Who::kRoot)) return;
  CHECK(As(Who::kRoot, []() -> std::string {
          auto one = Sandbox::Start(BasicSpec());
          auto two = Sandbox::Start(BasicSpec());
          if (!one || !two) return "no sandbox";
          return one->workload().uid != two->workload().uid ? "different" : "the same";
        }) == "different");
}

TEST_CASE("the host is checked by trying") {
  for (const Who who : {Who::kRoot, Who::kUser}) {
    if (!CanStart(who)) continue;
    const std::string out = As(who, []() -> std::string {
      std::string text;
      for (const HostCheck& check : CheckNamespaceHost()) {
        text +=
            check.what +
            (check.state == HostCheck::State::kOk ? " ok\n" : " not ok: " + check.detail + "\n");
        if (check.state == HostCheck::State::kMissing && check.fix.empty()) text += "no fix\n";
      }
      if (waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) text += "a process is left\n";
      return text;
    });
    INFO(out);
    for (const char* what : {"kernel ok", "user namespaces ok", "packet link ok", "overlay ok",
                             "/proc ok", "seccomp ok"}) {
      CHECK_THAT(out, Contains(what));
    }
    for (const char* what :
         {"tun node ", "id ranges ", "cgroups ", "ping ", "Landlock ", "AppArmor ", "KVM "}) {
      CHECK_THAT(out, Contains(what));
    }
    CHECK(out.find("no fix") == std::string::npos);
    CHECK(out.find("is left") == std::string::npos);
  }
}

}  // namespace
}  // namespace sallyport::runtime
