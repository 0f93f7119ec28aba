#include "runtime/broker/approver.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/runtime/broker/files.h"

namespace sallyport::runtime {
namespace {

using Catch::Matchers::Contains;
using namespace std::chrono_literals;

constexpr std::string_view kUsers("PATH\0/usr/bin:/bin\0WORD\0from the user\0", 38);

/// An approver that runs LINE with sh, and is gone with the test.
struct Work {
  explicit Work(const std::string& line, std::chrono::milliseconds timeout = 60s)
      : loop(*Loop::Create()) {
    const auto variables = *Variables::Read(Pipe(kUsers));
    auto started = Approver::Start({.argv = {"sh", "-c", line}, .folder = "/"}, timeout, variables);
    REQUIRE(started);
    approver = *std::move(started);
    REQUIRE(approver->Attach(*loop));
  }
  ~Work() {
    approver.reset();
    while (waitpid(-1, nullptr, 0) > 0) {
    }  // It ends because we are gone.
  }
  Pending Begin(const std::string& question, std::string& result) {
    return approver->Ask(question, [&result](Result<ApprovalAnswer> answer) {
      result =
          answer ? "=" + std::to_string(static_cast<int>(*answer)) : "!" + answer.error().message();
    });
  }
  std::string Ask(const std::string& question) {
    std::string result;
    const Pending pending = Begin(question, result);
    while (result.empty()) REQUIRE(loop->RunOnce());
    return result;
  }
  std::unique_ptr<Loop> loop;
  std::unique_ptr<Approver> approver;
};

TEST_CASE("a command reads the question, and answers by its status") {
  Work work("q=$(cat); test \"$q\" = '{\"a\":1}' || exit 1");
  CHECK(work.Ask("{\"a\":1}") == "=1");
  CHECK(work.Ask("{\"a\":2}") == "=3");
}

TEST_CASE("a command has the user's environment, and need not read a long question") {
  Work work("test \"$WORD\" = 'from the user'");
  CHECK(work.Ask(std::string(120 * 1024, 'x')) == "=1");
}

TEST_CASE("a command prints its answer, or what is wrong to its standard error") {
  CHECK(Work("echo '{\"decision\":\"allow\",\"scope\":\"session\"}'").Ask("{}") == "=2");
  CHECK_THAT(Work("echo 'no display' >&2; exit 3").Ask("{}"),
             Contains("status 3") && Contains("no display"));
  CHECK_THAT(Work("echo sure").Ask("{}"), Contains("is not"));
  CHECK_THAT(Work("kill -9 $$").Ask("{}"), Contains("signal 9"));
  CHECK_THAT(Work("head -c 100000 /dev/zero").Ask("{}"), Contains("is not"));
  CHECK_THAT(Work("exit 0", 60s).Ask("{}"), Contains("=1"));
}

TEST_CASE("a command that does not answer in time is none") {
  CHECK_THAT(Work("sleep 300", 100ms).Ask("{}"), Contains("in time"));
}

TEST_CASE("a command that prints without end is none when its time is over") {
  // Several write at once, so that there is always something to be read.
  CHECK_THAT(Work("yes & yes & yes & exec yes", 100ms).Ask("{}"), Contains("in time"));
  CHECK_THAT(Work("yes >&2 & yes >&2 & exec yes >&2", 100ms).Ask("{}"), Contains("in time"));
}

TEST_CASE("several questions are asked at once, up to a number") {
  const Folder folder;
  Work work("read id; touch " + folder.path + "/$id; until test -e " +
            folder.path + "/go; do sleep 0.02; done");
  std::vector<std::string> results(17);
  std::vector<Pending> pending;
  for (size_t i = 0; i < results.size(); ++i)
    pending.push_back(work.Begin(std::to_string(i) + "\n", results[i]));
  while (results[16].empty()) REQUIRE(work.loop->RunOnce());
  CHECK_THAT(results[16], Contains("too many"));
  std::ofstream(folder.path + "/go") << "go";
  for (size_t i = 0; i < 16; ++i) {
    while (results[i].empty()) REQUIRE(work.loop->RunOnce());
    CHECK(results[i] == "=1");
  }
  CHECK(std::filesystem::exists(folder.path + "/15"));
}

TEST_CASE("a question that is called off kills its command with all that it started") {
  const Folder folder;
  const std::string pipe = folder.path + "/alive";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  Work work("sleep 300 >" + pipe + " & sleep 300 >" + pipe);
  std::string result;
  {
    const Pending pending = work.Begin("{}", result);
    const UniqueFd reader(open(pipe.c_str(), O_RDONLY));  // Returns once somebody writes.
    REQUIRE(reader.valid());
  }
  const UniqueFd reader(open(pipe.c_str(), O_RDONLY | O_NONBLOCK));
  char byte = 0;
  pollfd ended{.fd = reader.get(), .events = POLLIN, .revents = 0};
  poll(&ended, 1, 60'000);
  CHECK(read(reader.get(), &byte, 1) == 0);  // Nobody has it open any more.
  CHECK(result.empty());
}

}  // namespace
}  // namespace sallyport::runtime
