#include "runtime/broker/errands.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/fakes/locks.h"
#include "tests/runtime/broker/files.h"

namespace sallyport::runtime {
namespace {

using Catch::Matchers::Contains;

constexpr std::string_view kUsers("PATH\0/usr/bin:/bin\0WORD\0from the user\0", 38);

/// Errands with a loop, for what DECLARED holds.
struct Work {
  explicit Work(Errands::Declared declared) : Work(std::move(declared), Pipe(kUsers)) {}
  Work(Errands::Declared declared, const UniqueFd& values) : loop(*Loop::Create()) {
    const auto variables = *Variables::Read(values);
    auto started = Errands::Start(std::move(declared), variables);
    REQUIRE(started);
    errands = *std::move(started);
    REQUIRE(errands->Attach(*loop));
  }
  ~Work() {
    errands.reset();
    while (waitpid(-1, nullptr, 0) > 0) {
    }  // It ends because we are gone.
  }

  std::string Turn(const Pending& pending, const std::string& result) {
    (void)pending;  // Kept until the result is there.
    while (result.empty()) REQUIRE(loop->RunOnce());
    return result;
  }
  std::function<void(Result<Wiped>)> Into(std::string& result) {
    return [&result](Result<Wiped> value) {
      result = value ? "=" + value->text : "!" + value.error().message();
    };
  }
  std::string Run(const CommandSource& command) {
    std::string result;
    return Turn(errands->Run(command, Into(result)), result);
  }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<Errands> errands;
};

CommandSource Shell(const std::string& line, const std::string& folder = "/") {
  return {.argv = {"sh", "-c", line}, .folder = folder};
}

std::string RunOnce(const CommandSource& command) {
  Work work({.commands = {command}, .files = {}});
  return work.Run(command);
}

TEST_CASE("a command's output without its last newline is the value") {
  CHECK(RunOnce(Shell("echo value")) == "=value");
  CHECK(RunOnce(Shell("printf value")) == "=value");
  CHECK(RunOnce(Shell("echo one; echo two")) == "=one\ntwo");
}

TEST_CASE("arguments reach the program as they are") {
  CHECK(RunOnce({.argv = {"printf", "%s|", "a b", "", "$(id)", "x;y"}, .folder = "/"}) ==
        "=a b||$(id)|x;y|");
}

TEST_CASE("a command has the user's environment, its folder, and no input") {
  CHECK(RunOnce(Shell("echo $WORD")) == "=from the user");
  const Folder folder;
  CHECK(RunOnce(Shell("pwd -P", folder.path)) ==
        "=" + folder.path);
  CHECK(RunOnce(Shell("cat; echo end")) == "=end");
}

/// The memory of PROCESS that is WORD, and how much of that is not locked (proc(5): VmFlags "lo").
struct Places {
  size_t all = 0;
  size_t unlocked = 0;
};
Places Find(const std::string& process, const std::string& word) {
  std::ifstream maps("/proc/" + process + "/smaps");
  std::ifstream memory("/proc/" + process + "/mem");
  Places places;
  size_t here = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char readable = '-';
    if (std::sscanf(line.c_str(), "%lx-%lx %c", &begin, &end, &readable) == 3) {
      here = 0;
      std::string bytes(end - begin, '\0');
      memory.clear();
      if (readable != 'r' || !memory.seekg(static_cast<std::streamoff>(begin)) ||
          !memory.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
        continue;
      }
      for (size_t at = bytes.find(word); at != bytes.npos; at = bytes.find(word, at + 1)) ++here;
      places.all += here;
    }
    if (line.starts_with("VmFlags:") && line.find(" lo") == line.npos) places.unlocked += here;
  }
  return places;
}

TEST_CASE("the process that runs commands has the user's environment in locked memory only") {
  if (!kLocks) return;
  if (geteuid() != 0) return;  // Nobody else may look into a process that is not dumpable.
  const Folder folder;
  // A word that this process, whose memory the child inherits, has never seen.
  const std::string make =
      "printf 'PATH\\0/usr/bin:/bin\\0WORD\\0%s\\0' \"$(head -c 24 /dev/urandom | od -An -tx1 | "
      "tr -d ' \\n' | tee word)\"";
  std::array<int, 2> ends;
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd values(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t made = fork();
  if (made == 0) {
    if (chdir(folder.path.c_str()) == 0 && dup2(writer.get(), 1) == 1) {
      execl("/bin/sh", "sh", "-c", make.c_str(), nullptr);
    }
    _exit(1);
  }
  writer.reset();
  REQUIRE(waitpid(made, nullptr, 0) == made);
  const auto command = Shell("echo $PPID; echo $WORD");
  const auto next = Shell("echo next");
  Work work({.commands = {command, next}, .files = {}}, values);
  const std::string told = work.Run(command);
  const std::string word = folder.Read("word");
  REQUIRE(word.size() == 48);
  const size_t line = told.find('\n');
  REQUIRE(told.substr(line + 1) == word);
  // What was answered is wiped before the next is asked for.
  REQUIRE(work.Run(next) == "=next");
  const Places places = Find(told.substr(1, line - 1), word);
  CHECK(places.all == 1);
  CHECK(places.unlocked == 0);
}

TEST_CASE("a command has no descriptor of ours") {
  CHECK(RunOnce(Shell("ls /proc/self/fd | wc -l")) ==
        "=4");  // Three, and the folder that ls reads.
}

TEST_CASE("a command that fails is told with its status and its first complaint") {
  CHECK(RunOnce(Shell("echo secret; echo 'not logged in' >&2; echo more >&2; exit 4")) ==
        "!command sh failed with status 4: not logged in");
  CHECK(RunOnce(Shell("kill -9 $$")) == "!command sh was ended by signal 9");
  CHECK_THAT(RunOnce({.argv = {"no-such-program"}, .folder = "/"}),
             Contains("no-such-program: No such file"));
  CHECK_THAT(RunOnce(Shell("echo x", "/no/such/folder")), Contains("No such file"));
  CHECK(RunOnce(Shell("true")) == "!command sh printed nothing");
  CHECK(RunOnce(Shell("head -c 70000 /dev/zero")) == "!command sh printed more than 64 KiB");
}

TEST_CASE("what a command leaves running holds nobody up, and is ended") {
  const Folder folder;
  const auto command = Shell("sleep 1000 & echo $! > pid; echo value", folder.path);
  CHECK(RunOnce(command) == "=value");
  // Killed, though perhaps not gone this instant, nor waited for by whoever inherits it.
  const UniqueFd left(static_cast<int>(syscall(SYS_pidfd_open, std::stoi(folder.Read("pid")), 0)));
  pollfd ended{.fd = left.get(), .events = POLLIN, .revents = 0};
  CHECK((!left.valid() || poll(&ended, 1, 60'000) == 1));
}

TEST_CASE(
    "a value is taken from a command that leaves something running which complains for ever") {
  CHECK(RunOnce(Shell("yes >&2 & yes >&2 & yes >&2 & echo value")) == "=value");
}

TEST_CASE("only what was declared is run, read or replaced") {
  const Folder folder;
  const std::string other = folder.Write("other", "untouched\n");
  Work work({.commands = {Shell("echo declared")}, .files = {folder.Write("file", "x\n")}});
  CHECK(work.Run(Shell("echo another")) == "!it was not declared");
  std::string read;
  work.Turn(work.errands->ReadFile(other, work.Into(read)), read);
  CHECK(read == "!it was not declared");
  std::string replaced;
  work.Turn(work.errands->ReplaceFile(other, Wiped("y"), work.Into(replaced)), replaced);
  CHECK(replaced == "!it was not declared");
  CHECK(folder.Read("other") == "untouched\n");
}

TEST_CASE("errands asked at once are done in their order") {
  const auto first = Shell("echo 1");
  const auto second = Shell("echo 2");
  Work work({.commands = {first, second}, .files = {}});
  std::string a;
  std::string b;
  const Pending one = work.errands->Run(first, work.Into(a));
  const Pending two = work.errands->Run(second, work.Into(b));
  while (b.empty()) REQUIRE(work.loop->RunOnce());
  CHECK(a == "=1");
  CHECK(b == "=2");
}

TEST_CASE("an errand that nobody waits for any more answers nobody, and the next one is done") {
  const auto first = Shell("echo 1");
  const auto second = Shell("echo 2");
  Work work({.commands = {first, second}, .files = {}});
  std::string a;
  { const Pending dropped = work.errands->Run(first, work.Into(a)); }
  CHECK(work.Run(second) == "=2");
  CHECK(a.empty());
}

TEST_CASE("a file is replaced whole, with the mode it had, also behind a link") {
  const Folder folder;
  const std::string target = folder.Write("target", "old\n");
  REQUIRE(chmod(target.c_str(), 0640) == 0);
  const std::string link = folder / "link";
  std::filesystem::create_symlink("target", link);
  Work work({.commands = {}, .files = {link}});
  std::string result;
  work.Turn(work.errands->ReplaceFile(link, Wiped("new"), work.Into(result)), result);
  CHECK(result == "=");
  CHECK(folder.Read("target") == "new\n");
  CHECK(std::filesystem::is_symlink(link));
  struct stat info = {};
  REQUIRE(stat(target.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0640);
  std::string read;
  work.Turn(work.errands->ReadFile(link, work.Into(read)), read);
  CHECK(read == "=new");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 2);
}

TEST_CASE("a file that can't be replaced stays, and the reason is told") {
  const Folder folder;
  const std::string gone = folder / "gone/file";
  Work work({.commands = {}, .files = {gone}});
  std::string result;
  work.Turn(work.errands->ReplaceFile(gone, Wiped("new"), work.Into(result)), result);
  CHECK_THAT(result, Contains("No such file"));
}

TEST_CASE("a command under way is ended when the broker is gone, with all that it started") {
  const Folder folder;
  const auto command = Shell("echo $$ > pid; sleep 1000; echo late", folder.path);
  {
    Work work({.commands = {command}, .files = {}});
    std::string result;
    const Pending pending = work.errands->Run(command, work.Into(result));
    REQUIRE(work.loop->RunOnce());  // It is sent.
    // The child that runs errands is waited for below: it ends only after the command.
  }
  CHECK((folder.Read("pid").empty() || kill(std::stoi(folder.Read("pid")), 0) != 0));
}

}  // namespace
}  // namespace sallyport::runtime
