// The real agent, unmodified, as PID 1 of its own namespaces.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <set>

#include "tests/guest/agent_client.h"
#include "tests/guest/test_sandbox.h"

namespace sallyport::guest {
namespace {

/// A sandbox and its host.
struct Session {
  explicit Session(const TestSandbox::Options& options = {})
      : sandbox(options), client(std::move(sandbox.connection())) {}
  TestSandbox sandbox;
  AgentClient client;
};

std::unique_ptr<Session> OpenSession() {
  auto session = std::make_unique<Session>();
  session->client.Open();
  return session;
}

std::string Numbers(int count) {
  std::string numbers;
  for (int i = 0; i < count; ++i) numbers += std::to_string(i) + "\n";
  return numbers;
}

/// Waits until no process called NAME is left. Death takes a moment to show in /proc.
bool GoesAway(AgentClient& client, const std::string& name) {
  for (int tries = 0; tries < 1000; ++tries) {
    if (client.Shell("cat /proc/[0-9]*/comm").out.find(name) == std::string::npos) return true;
  }
  return false;
}

TEST_CASE("a program's output and exit code come back") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const Stream echo = session->client.Shell("echo out; echo err >&2; exit 7");
  CHECK(echo.started);
  CHECK(echo.out == "out\n");
  CHECK(echo.err == "err\n");
  CHECK(echo.out_ended);
  CHECK(echo.err_ended);
  REQUIRE(echo.exit);
  CHECK(echo.exit->ShellCode() == 7);
}

TEST_CASE("a mebibyte goes through a program's stdin and stdout") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  std::string input = Numbers(170'000);
  REQUIRE(input.size() > size_t{1024} * 1024);
  const Stream cat = session->client.Run({"cat"}, input);
  CHECK(cat.out == input);
  CHECK(cat.exit->ShellCode() == 0);
}

TEST_CASE("what a program wrote last arrives before its exit") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  // More than the credit: the rest waits in the pipe when the program is gone.
  const Stream head = session->client.Run({"head", "-c", "300000", "/dev/zero"});
  CHECK(head.out == std::string(300'000, '\0'));
}

TEST_CASE("a program that closed its stdin does not hold up the host") {
  if (!TestSandbox::Possible()) return;
  Session session({.fifo = "/tmp/fifo"});
  session.client.Open();
  const uint32_t deaf = session.client.Start(
      {.argv = {"sh", "-c", "exec <&-; echo deaf; exec cat /tmp/fifo"}}, std::string(1 << 20, 'x'));
  Stream& stream = session.client.stream(deaf);
  session.client.Until([&] { return stream.stdin_left.empty() && !stream.out.empty(); });
  session.client.Shell("echo done > /tmp/fifo");
  session.client.UntilOver(deaf);
  CHECK(stream.out == "deaf\ndone\n");
  CHECK(stream.exit->ShellCode() == 0);
}

TEST_CASE("a program with a terminal has it as its controlling one, with the size asked for") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const Stream tty = session->client.RunExec(
      {.argv = {"sh", "-c", "tty; stty size; echo $TERM; : > /dev/tty && echo controlling"},
       .tty = true,
       .rows = 33,
       .columns = 111});
  CHECK(tty.out == "/dev/pts/0\r\n33 111\r\nxterm\r\ncontrolling\r\n");
  CHECK(tty.exit->ShellCode() == 0);
}

TEST_CASE("a resized terminal has its new size") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const uint32_t id = session->client.StartOpen(
      {.argv = {"sh", "-c", "stty -echo; echo ready; read line; stty size"}, .tty = true});
  Stream& stream = session->client.stream(id);
  session->client.Until([&] { return stream.out == "ready\r\n"; });
  session->client.Send(FrameType::kResize, id, Resize{50, 200}.Encode());
  stream.stdin_left = "go\n";
  session->client.UntilOver(id);
  CHECK(stream.out == "ready\r\n50 200\r\n");
}

TEST_CASE("the end of stdin reaches a program at a terminal, even behind a begun line") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  for (const char* input : {"line\n", "line"}) {
    const Stream cat =
        session->client.RunExec({.argv = {"sh", "-c", "stty -echo; cat"}, .tty = true}, input);
    CHECK(cat.out.find("line") != std::string::npos);
    CHECK(cat.exit->ShellCode() == 0);
  }
}

TEST_CASE("a signal reaches the program and what it started") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  for (const int number : {SIGTERM, SIGKILL}) {
    const uint32_t id =
        session->client.StartOpen({.argv = {"sh", "-c", "sleep 1000 & echo ready; wait"}});
    Stream& stream = session->client.stream(id);
    session->client.Until([&] { return stream.out == "ready\n"; });
    session->client.Send(FrameType::kSignal, id, SignalRequest{number}.Encode());
    session->client.UntilOver(id);
    CHECK(stream.exit->signal == number);
    CHECK(stream.exit->ShellCode() == 128 + number);
  }
  CHECK(GoesAway(session->client, "sleep"));
}

TEST_CASE("a signal right behind the exec is not lost") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const uint32_t id = session->client.StartOpen({.argv = {"sleep", "1000"}});
  session->client.Send(FrameType::kSignal, id, SignalRequest{SIGTERM}.Encode());
  session->client.UntilOver(id);
  REQUIRE(session->client.stream(id).exit);
  CHECK(session->client.stream(id).exit->signal == SIGTERM);
}

TEST_CASE("what can't be started is told as a shell would") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{"/etc/plain", "text"}, {"/etc/script", "#!/nowhere\n"}}});
  session.client.Open();
  REQUIRE(
      session.client.Shell("chmod 755 /etc/script; cp /etc/plain /etc/empty; chmod 755 /etc/empty")
          .exit->ShellCode() == 0);
  const auto fails = [&](const Exec& exec, int code, const std::string& message) {
    const Stream stream = session.client.RunExec(exec);
    REQUIRE(stream.error);
    CHECK_FALSE(stream.started);
    CHECK(stream.error->exit_code == code);
    CHECK(stream.error->message == message);
  };
  fails({.argv = {"no-such-program"}}, 127, "command not found: no-such-program");
  fails({.argv = {""}}, 127, "command not found: ");
  fails({.argv = {"/no/such"}}, 127, "/no/such: No such file or directory");
  fails({.argv = {"/etc/script"}}, 127, "/etc/script: its interpreter is not in the sandbox");
  fails({.argv = {"/etc/plain"}}, 126, "/etc/plain: Permission denied");
  fails({.argv = {"/usr"}}, 126, "/usr: Permission denied");
  fails({.argv = {"/etc/empty"}}, 126, "/etc/empty: Exec format error");
  fails({.argv = {"true"}, .cwd = "/no/such"}, 125, "cd /no/such: No such file or directory");
  fails({.argv = {"true"}, .env = {{"PATH", "/etc"}}}, 127, "command not found: true");
}

TEST_CASE("the environment is the defaults with the exec's own over them") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{"/etc/passwd", "toor:x:0:0::/srv:/bin/dash\n"}}});
  session.client.Open();
  const Stream env = session.client.RunExec(
      {.argv = {"env"}, .env = {{"LANG", "C"}, {"MINE", "a=b"}}, .cwd = "/usr"});
  CHECK(env.out ==
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/srv\nUSER=toor\n"
        "LOGNAME=toor\nSHELL=/bin/dash\nLANG=C\nMINE=a=b\n");
  CHECK(session.client.RunExec({.argv = {"pwd"}, .cwd = "/usr"}).out == "/usr\n");
  CHECK(session.client.Run({"pwd"}).out == "/\n");
}

TEST_CASE("a program left in the background does not hold up the exit") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const Stream silent = session->client.Shell("sleep 1000 & echo done");
  CHECK(silent.out == "done\n");
  CHECK(silent.exit->ShellCode() == 0);
  const Stream noisy = session->client.Shell("echo done; yes &");
  CHECK(noisy.out.starts_with("done\n"));
  CHECK(noisy.exit->ShellCode() == 0);
}

TEST_CASE("a background program that uses up all credit does not hold up the exit either") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const uint32_t id = session->client.StartOpen(
      {.argv = {"sh", "-c", "yes & cat"}});  // cat's end is the shell's, with no credit left.
  Stream& stream = session->client.stream(id);
  stream.grants = false;
  session->client.Until([&] { return stream.out.size() == kInitialCredit; });
  stream.stdin_ends = true;
  session->client.Run({"true"});
  stream.receive_credit = {};
  stream.grants = true;
  session->client.Send(FrameType::kCredit, id, "", 0, kInitialCredit);
  session->client.UntilOver(id);
  CHECK(stream.exit->ShellCode() == 0);
}

TEST_CASE("64 programs run at once, and no more") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  std::vector<uint32_t> ids;
  for (int i = 0; i < 64; ++i) {
    ids.push_back(session->client.StartOpen({.argv = {"cat"}}));
    session->client.stream(ids.back()).stdin_left = std::to_string(i);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    session->client.Until([&] { return session->client.stream(ids[i]).out == std::to_string(i); });
  }
  const Stream refused = session->client.Run({"true"});
  REQUIRE(refused.error);
  CHECK(refused.error->exit_code == 125);
  for (const uint32_t id : ids) session->client.stream(id).stdin_ends = true;
  for (const uint32_t id : ids) {
    session->client.UntilOver(id);
    CHECK(session->client.stream(id).exit->ShellCode() == 0);
  }
  CHECK(session->client.Run({"true"}).exit->ShellCode() == 0);
}

TEST_CASE("a stream whose output nobody takes stalls alone") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const uint32_t stalled = session->client.StartOpen({.argv = {"yes"}});
  Stream& stream = session->client.stream(stalled);
  stream.grants = false;
  session->client.Until([&] { return stream.out.size() == kInitialCredit; });
  CHECK(session->client.Run({"echo", "hi"}).out == "hi\n");
  session->client.Send(FrameType::kPing, 0, "x");
  session->client.Until([&] { return session->client.pongs() == 1; });
  CHECK(stream.out.size() == kInitialCredit);
  session->client.Send(FrameType::kSignal, stalled, SignalRequest{SIGKILL}.Encode());
  session->client.Send(FrameType::kCredit, stalled, "", 0, 1 << 20);
  stream.receive_credit = {};
  stream.grants = true;
  session->client.UntilOver(stalled);
  CHECK(stream.exit->signal == SIGKILL);
}

TEST_CASE("a stream that the host gives up is killed") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const uint32_t id = session->client.StartOpen({.argv = {"sleep", "1000"}});
  session->client.Until([&] { return session->client.stream(id).started; });
  session->client.Send(FrameType::kError, id, ErrorMessage{125, "gone"}.Encode());
  CHECK(GoesAway(session->client, "sleep"));
}

TEST_CASE("arguments longer than a frame reach the program") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  Exec exec{.argv = {"sh", "-c", "echo $# ${#1}", "sh"}};
  for (int i = 0; i < 10; ++i) exec.argv.push_back(std::string(100'000, 'x'));
  CHECK(session->client.RunExec(exec).out == "10 100000\n");
}

TEST_CASE("programs have the default capabilities, the filter and nothing of the agent's") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  constexpr const char* kDefault =
      "00000000800405fb";  // Engines' default less MKNOD, NET_RAW, AUDIT_WRITE.
  const std::string status = session->client.Run({"cat", "/proc/self/status"}).out;
  const auto has = [](const std::string& text, const std::string& line) {
    INFO(line);
    INFO(text);
    CHECK(text.find(line + "\n") != std::string::npos);
  };
  has(status, "CapInh:\t0000000000000000");
  has(status, std::string("CapPrm:\t") + kDefault);
  has(status, std::string("CapEff:\t") + kDefault);
  has(status, std::string("CapBnd:\t") + kDefault);
  has(status, "CapAmb:\t0000000000000000");
  has(status, "NoNewPrivs:\t1");
  has(status, "Seccomp:\t2");
  has(status, "SigBlk:\t0000000000000000");
  has(status, "SigIgn:\t0000000000000000");
  // 0 to 2, and the one that lists them.
  CHECK(session->client.Shell("ls /proc/self/fd | wc -l").out == "4\n");
  CHECK(session->client.Shell("ulimit -c; ulimit -Hc; umask").out == "0\n0\n0022\n");
}

TEST_CASE("programs can't reach into the agent, which is confined itself") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  const std::string status = session->client.Run({"cat", "/proc/1/status"}).out;
  CHECK(status.find("CapEff:\t0000000000000020\n") != std::string::npos);  // CAP_KILL
  CHECK(status.find("CapBnd:\t00000000800405fb\n") != std::string::npos);
  CHECK(status.find("NoNewPrivs:\t1\n") != std::string::npos);
  CHECK(status.find("Seccomp:\t2\n") != std::string::npos);
  for (const char* probe : {"readlink /proc/1/fd/3", "echo > /proc/1/fd/3", "cat /proc/1/environ",
                            "cat /proc/1/maps", "ls /proc/1/root/", "head -c1 /proc/1/mem"}) {
    INFO(probe);
    CHECK(session->client.Shell(probe).exit->ShellCode() != 0);
  }
  session->client.Shell("kill -TERM 1; kill -KILL 1; kill -STOP 1; kill -USR1 1");
  CHECK(session->client.Run({"true"}).exit->ShellCode() == 0);
}

TEST_CASE("orphans do not stay as zombies") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  session->client.Shell("for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 1' &); done");
  for (int tries = 0; tries < 1000; ++tries) {
    const Stream states = session->client.Shell("cat /proc/[0-9]*/stat");
    if (states.out.find(") Z ") == std::string::npos) return;
  }
  FAIL("there are still zombies");
}

TEST_CASE("the end of the connection is the end of the sandbox") {
  if (!TestSandbox::Possible()) return;
  auto session = OpenSession();
  session->client.Shell("setsid sleep 1000 > /dev/null 2>&1 &");
  const uint32_t id = session->client.StartOpen({.argv = {"sleep", "1000"}});
  session->client.Until([&] { return session->client.stream(id).started; });
  session->client.Close();
  CHECK(session->sandbox.WaitForEnd() == 0);
}

TEST_CASE("nothing runs before the trust message") {
  if (!TestSandbox::Possible()) return;
  Session session;
  session.client.SendHello();
  const Stream early = session.client.Run({"true"});
  REQUIRE(early.error);
  CHECK(early.error->exit_code == 125);
  session.client.SendTrust({});
  session.client.Until([&] { return session.client.trusted(); });
  CHECK(session.client.Run({"true"}).exit->ShellCode() == 0);
}

TEST_CASE("a host that breaks the protocol loses the sandbox") {
  if (!TestSandbox::Possible()) return;
  const auto break_with = [](const std::function<void(AgentClient&)>& breach) {
    auto session = OpenSession();
    breach(session->client);
    session->client.UntilClosed();
    CHECK(session->client.failure());
    CHECK(session->sandbox.WaitForEnd() == 0);
  };
  break_with([](AgentClient& client) { client.SendHello(); });
  break_with([](AgentClient& client) { client.SendTrust({}); });
  break_with([](AgentClient& client) { client.Send(FrameType::kExec, 9, "nonsense"); });
  break_with(
      [](AgentClient& client) { client.Send(FrameType::kExec, 0, Exec{.argv = {"a"}}.Encode()); });
  break_with([](AgentClient& client) { client.Send(FrameType::kLaunch, 0); });
  break_with([](AgentClient& client) {
    const uint32_t id = client.StartOpen({.argv = {"sleep", "1000"}});
    for (size_t sent = 0; sent <= kInitialCredit + 65536 * 4; sent += kMaxPayload) {
      client.Send(FrameType::kStdin, id, std::string(kMaxPayload, 'x'));
    }
  });
}

TEST_CASE("a frame before the hello ends the connection") {
  if (!TestSandbox::Possible()) return;
  Session session;
  session.client.SendTrust({});
  session.client.UntilClosed();
  CHECK(session.client.failure());
}

TEST_CASE("outside of a sandbox the agent refuses to run") {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    execl(SALLYPORT_AGENT, "sandbox-agent", nullptr);
    _exit(1);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(WEXITSTATUS(status) == 125);
}

}  // namespace
}  // namespace sallyport::guest
