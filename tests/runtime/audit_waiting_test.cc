#include "runtime/warden/audit_log.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "tests/runtime/audit_desk.h"

namespace sallyport::runtime {
namespace {

// Runs one turn of LOOP, which does WORK.
void Turn(Loop& loop, std::function<void()> work) {
  const auto posted = loop.Post(std::move(work));
  REQUIRE(*loop.RunOnce());
}

AuditRecord AllowanceOf(uint64_t flow) {
  AuditRecord record = Allowance();
  record.flow = flow;
  return record;
}

TEST_CASE("lines of allowed requests are written before their loop waits") {
  const auto loop = *Loop::Create();
  AuditLog::Options options;
  options.loop = loop.get();
  std::vector<std::string> tapped;
  options.tap = [&tapped](std::string_view line) { tapped.emplace_back(line); };
  AuditDesk desk(std::move(options));
  Turn(*loop, [&] {
    desk.log().Write(AllowanceOf(1));
    desk.log().Write(AllowanceOf(2));
    CHECK(desk.Text().empty());
  });
  (void)loop->RunOnce();  // Before the wait.
  REQUIRE(desk.Records().size() == 2);
  CHECK(desk.Records()[0]["flow"] == 1);
  CHECK(desk.Records()[1]["flow"] == 2);
  CHECK(tapped == std::vector<std::string>{desk.Lines()[0] + "\n", desk.Lines()[1] + "\n"});
}

TEST_CASE("a refusal, a connection and a command are written at once, behind what waits") {
  const auto loop = *Loop::Create();
  AuditLog::Options options;
  options.loop = loop.get();
  AuditDesk desk(std::move(options));
  AuditRecord connection = AllowanceOf(3);
  connection.transport = "tcp";
  connection.method.clear();
  AuditRecord command = AllowanceOf(4);
  command.transport = "control";
  for (const AuditRecord& record : {Denial(2), connection, command}) {
    const size_t before = desk.Records().size();
    desk.log().Write(AllowanceOf(1));
    desk.log().Write(record);
    REQUIRE(desk.Records().size() == before + 2);
    CHECK(desk.Records()[before]["flow"] == 1);
    CHECK(desk.Records()[before + 1]["flow"] == record.flow);
  }
}

TEST_CASE("lines that wait are cut into writes that no other writer of a pipe can part") {
  const auto loop = *Loop::Create();
  std::array<int, 2> fds;
  REQUIRE(pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK | O_DIRECT) == 0);  // A read brings one write.
  const UniqueFd out(fds[0]);
  AuditLog::Options options;
  options.loop = loop.get();
  AuditDesk desk(UniqueFd(fds[1]), std::move(options));
  for (uint64_t flow = 1; flow <= 100; ++flow) desk.log().Write(AllowanceOf(flow));
  (void)loop->RunOnce();
  std::array<char, 65536> block;
  size_t writes = 0;
  size_t lines = 0;
  for (ssize_t got; (got = read(out.get(), block.data(), block.size())) > 0; ++writes) {
    CHECK(got <= PIPE_BUF);
    CHECK(block[static_cast<size_t>(got) - 1] == '\n');
    lines += static_cast<size_t>(std::count(block.begin(), block.begin() + got, '\n'));
  }
  CHECK(lines == 100);
  CHECK(writes < 20);
}

TEST_CASE("a log that ends, or goes on in another file, has written what waited") {
  const auto loop = *Loop::Create();
  AuditLog::Options options;
  options.loop = loop.get();
  AuditDesk desk(std::move(options));
  desk.log().Write(AllowanceOf(1));
  desk.log().Continue(desk.Duplicate());
  CHECK(desk.Records().size() == 1);
  desk.log().Write(AllowanceOf(2));
  desk.log().Flush(Clock::time_point::max());
  CHECK(desk.Records().size() == 2);
  desk.log().Write(AllowanceOf(3));
  desk.Close();
  CHECK(desk.Records().size() == 3);
}

}  // namespace
}  // namespace sallyport::runtime
