#include "runtime/api/spawn.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace sallyport {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;

/// A program in the warden's place: a shell script.
class Script {
 public:
  explicit Script(const std::string& text) {
    char path[] = "/tmp/sallyport-test-XXXXXX";
    if (mkdtemp(path) == nullptr) std::abort();
    folder_ = path;
    std::ofstream(this->path()) << "#!/bin/sh\n" << text;
    chmod(this->path().c_str(), 0755);
  }
  ~Script() { std::filesystem::remove_all(folder_); }
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;
  std::string path() const { return folder_ + "/script"; }

 private:
  std::string folder_;
};

/// All that the other end says until it closes.
std::string Said(const UniqueFd& control) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = recv(control.get(), buffer, sizeof buffer, 0)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

int ExitCode(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

TEST_CASE("a warden that can't be executed says so, and stays until its owner goes") {
  auto spawned = SpawnWarden("/nowhere/sandbox-warden");
  REQUIRE(spawned);
  char buffer[4096];
  const ssize_t got = recv(spawned->control.get(), buffer, sizeof buffer, 0);
  REQUIRE(got > 0);
  CHECK_THAT(std::string(buffer, static_cast<size_t>(got)),
             Contains("starting /nowhere/sandbox-warden: No such file or directory"));
  CHECK(send(spawned->control.get(), "launch", 6, MSG_NOSIGNAL) == 6);
  CHECK(waitpid(spawned->pid, nullptr, WNOHANG) == 0);
  spawned->control.reset();
  CHECK(ExitCode(spawned->pid) == 125);
}

TEST_CASE("a warden is born with its socket and what it has begun, and nothing else") {
  const UniqueFd opened(open("/dev/null", O_RDONLY));
  const UniqueFd stray(fcntl(opened.get(), F_DUPFD, 9));  // Not closed by an exec.
  REQUIRE(stray.get() == 9);
  char value[] = "SALLYPORT_TEST_VALUE=secret";
  putenv(value);
  static constexpr char kLiteral[] = "SALLYPORT_TEST_LITERAL=nothing that can be wiped";
  putenv(const_cast<char*>(kLiteral));
  const Script script(
      "exec >&3; env\n"
      "for fd in 0 1 2 3 8 9; do [ -e /proc/$$/fd/$fd ] && echo has $fd; done; exit 0\n");
  auto spawned = SpawnWarden(script.path());
  unsetenv("SALLYPORT_TEST_VALUE");
  unsetenv("SALLYPORT_TEST_LITERAL");
  REQUIRE(spawned);
  const std::string said = Said(spawned->control);
  CHECK(ExitCode(spawned->pid) == 0);
  CHECK_THAT(said, EndsWith("has 0\nhas 1\nhas 2\nhas 3\n"));
  CHECK(said.find("SALLYPORT_TEST_VALUE") == std::string::npos);
}

TEST_CASE("the sandbox's first process does not hold its owner's environment") {
  REQUIRE(getenv("PATH") != nullptr);
  const Script script(
      "exec >&3\n"
      "if [ \"$1\" = --begun ]; then tr -d '\\0' < /proc/${2%% *}/environ | wc -c; else echo 0; "
      "fi\n");
  auto spawned = SpawnWarden(script.path());
  REQUIRE(spawned);
  CHECK(Said(spawned->control) == "0\n");
  CHECK(ExitCode(spawned->pid) == 0);
}

}  // namespace
}  // namespace sallyport
