#include "runtime/api/audit_file.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "runtime/api/audit_reader.h"
#include "tests/support/folder.h"

namespace sallyport {
namespace {

using Rotates = AuditFile::Rotates;

/// A folder that goes with the test, for a log.
struct Folder : testing::Folder {
  std::string log() const { return *this / "audit.jsonl"; }
};

std::string LineOf(const std::string& sandbox, int flow) {
  return R"({"time":"2026-01-02T03:04:05.678Z","sandbox":")" + sandbox + R"(","flow":)" +
         std::to_string(flow) + R"(,"transport":"tcp","verdict":"deny","reason":"not_granted"})" +
         "\n";
}

void Write(const UniqueFd& file, const std::string& text) {
  REQUIRE(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

off_t SizeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_size : -1;
}

std::vector<std::string> ReadAll(AuditReader& reader) {
  std::vector<std::string> flows;
  REQUIRE(reader.Read([&](std::string_view, const AuditLine& line) {
    flows.push_back(line.sandbox + "/" + std::to_string(line.flow));
  }));
  return flows;
}

TEST_CASE("a log is made for its user alone, and goes on in the same file below its size") {
  const Folder folder;
  AuditFile file(folder.log(), Rotates::kYes, {.bytes = 1000, .files = 2});
  const auto first = file.Open();
  REQUIRE(first);
  struct stat info {};
  REQUIRE(fstat(first->get(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  Write(*first, "x\n");
  CHECK_FALSE(file.Renew()->has_value());
  CHECK(file.Open());
  CHECK(SizeOf(folder.log()) == 2);
}

TEST_CASE("a full log is renamed, so many are kept, and no more") {
  const Folder folder;
  AuditFile file(folder.log(), Rotates::kYes, {.bytes = 3, .files = 2});
  auto current = file.Open();
  for (const char* text : {"one\n", "two\n", "three\n", "four\n"}) {
    Write(*current, text);
    auto next = file.Renew();
    REQUIRE(next);
    REQUIRE(next->has_value());
    current = *std::move(*next);
  }
  CHECK(SizeOf(folder.log()) == 0);
  CHECK(SizeOf(folder.log() + ".1") == 5);
  CHECK(SizeOf(folder.log() + ".2") == 6);
  CHECK(SizeOf(folder.log() + ".3") == -1);
}

TEST_CASE("who did not rename it gets the new file, too, and what it wrote before is kept") {
  const Folder folder;
  const AuditFile::Limits limits{.bytes = 3, .files = 2};
  AuditFile one(folder.log(), Rotates::kYes, limits);
  AuditFile other(folder.log(), Rotates::kYes, limits);
  const auto of_one = one.Open();
  const auto of_other = other.Open();
  Write(*of_one, "one\n");
  REQUIRE(one.Renew()->has_value());
  Write(*of_other, "late\n");
  CHECK(SizeOf(folder.log() + ".1") == 9);
  const auto renewed = other.Renew();
  REQUIRE(renewed->has_value());
  Write(**renewed, "x\n");
  CHECK(SizeOf(folder.log()) == 2);
  CHECK_FALSE(other.Renew()->has_value());
}

TEST_CASE("what is no file of ours to rename stays: a device, and a log that a sandbox sees") {
  AuditFile device("/dev/null", Rotates::kYes, {.bytes = 0, .files = 2});
  CHECK(device.Open());
  CHECK_FALSE(device.Renew()->has_value());
  const Folder folder;
  AuditFile seen(folder.log(), Rotates::kNo, {.bytes = 1, .files = 2});
  Write(*seen.Open(), "full\n");
  CHECK_FALSE(seen.Renew()->has_value());
  CHECK(SizeOf(folder.log()) == 5);
}

TEST_CASE("processes that write and rename at the same time lose no line, and cut none") {
  const Folder folder;
  constexpr int kWriters = 4;
  constexpr int kLines = 500;
  // Room for all lines, so that none goes by age.
  const AuditFile::Limits limits{.bytes = 16 * 1024, .files = 60};
  std::array<pid_t, kWriters> writers{};
  for (int writer = 0; writer < kWriters; ++writer) {
    writers[static_cast<size_t>(writer)] = fork();
    REQUIRE(writers[static_cast<size_t>(writer)] >= 0);
    if (writers[static_cast<size_t>(writer)] != 0) continue;
    AuditFile file(folder.log(), Rotates::kYes, limits);
    auto current = file.Open();
    for (int i = 1; current && i <= kLines; ++i) {
      const std::string line = LineOf("sp-" + std::to_string(writer), i);
      if (write(current->get(), line.data(), line.size()) < 0) _exit(1);
      if (auto next = file.Renew(); next && *next) current = *std::move(*next);
    }
    _exit(current ? 0 : 1);
  }
  AuditReader follower(folder.log());  // While they write.
  std::multiset<std::string> followed;
  const auto follow = [&] {
    (void)follower
        .Read([&](std::string_view, const AuditLine& line) {
          followed.insert(line.sandbox + "/" + std::to_string(line.flow));
        })
        .has_value();
  };
  for (const pid_t writer : writers) {
    int status = -1;
    while (waitpid(writer, &status, WNOHANG) == 0) follow();
    CHECK(status == 0);
  }
  follow();
  AuditReader reader(folder.log());
  const auto all = ReadAll(reader);
  CHECK(all.size() == size_t{kWriters} * kLines);
  CHECK(std::set<std::string>(all.begin(), all.end()).size() == all.size());
  CHECK(reader.unread() == 0);
  CHECK(followed.size() == all.size());
  CHECK(follower.unread() == 0);
  CHECK(SizeOf(folder.log() + ".2") > 0);
}

TEST_CASE("a reader has the oldest line first, and goes on where it was") {
  const Folder folder;
  std::ofstream(folder.log() + ".1") << LineOf("sp-a", 1) << "not a line\n" << LineOf("sp-a", 2);
  std::ofstream(folder.log()) << LineOf("sp-a", 3) << LineOf("sp-a", 4).substr(0, 20);
  AuditReader reader(folder.log());
  CHECK(ReadAll(reader) == std::vector<std::string>{"sp-a/1", "sp-a/2", "sp-a/3"});
  CHECK(reader.unread() == 1);
  std::ofstream(folder.log(), std::ios::app) << LineOf("sp-a", 4).substr(20);
  CHECK(ReadAll(reader) == std::vector<std::string>{"sp-a/4"});
  CHECK(ReadAll(reader).empty());
  AuditReader none(folder.path + "/none");
  CHECK(none.Read([](std::string_view, const AuditLine&) {}).error().code() == Code::kNotFound);
}

TEST_CASE("filters of one key are alternatives, of several keys conditions") {
  const auto line = AuditLine::Parse(LineOf("sp-abc", 7));
  REQUIRE(line);
  const auto matches = [&](std::vector<std::string> fields, std::string sandbox = "") {
    AuditFilter filter;
    filter.sandbox = std::move(sandbox);
    for (const auto& field : fields) REQUIRE(filter.Add(field, {}));
    return filter.Matches(*line);
  };
  CHECK(matches({}));
  CHECK(matches({"flow=7", "transport=udp", "transport=tcp"}, "sp-a"));
  CHECK_FALSE(matches({"flow=7", "transport=udp"}));
  CHECK_FALSE(matches({"flow=8"}));
  CHECK_FALSE(matches({}, "sp-b"));
}

/// Whether a line of this name, address and secrets, at noon, is wanted by all of FIELDS.
bool Wanted(const std::vector<std::string>& fields) {
  const auto line = AuditLine::Parse(
      R"({"time":"2026-05-01T12:00:00.000Z","sandbox":"sp-1","name":"api.example.com","address":"192.0.2.1",)"
      R"("verdict":"deny","reason":"denied_by_rule","rule":"policy.lua:2","secrets":["A","B"],"bytes_up":12})");
  REQUIRE(line);
  AuditFilter filter;
  const auto now = std::chrono::sys_days(std::chrono::year_month_day(
                       std::chrono::year(2026), std::chrono::May, std::chrono::day(1))) +
                   std::chrono::hours(13);
  for (const auto& field : fields) REQUIRE(filter.Add(field, now));
  return filter.Matches(*line);
}

TEST_CASE("a filter asks for the host, a secret and the time, too") {
  for (const std::string field :
       {"verdict=deny", "reason=denied_by_rule", "rule=policy.lua:2", "host=api.example.com",
        "host=192.0.2.1", "host=*.example.com", "host=*.com", "secret=A", "secret=B", "secrets=A,B",
        "bytes_up=12", "since=2026-05-01", "since=2026-05-01T12:00Z", "since=61m", "since=1h",
        "until=2026-05-02", "until=2026-05-01T12:00:00.001Z", "until=59m"}) {
    CAPTURE(field);
    CHECK(Wanted({field}));
  }
  for (const std::string field :
       {"verdict=allow", "host=example.com", "host=*.api.example.com", "host=*.ple.com", "secret=C",
        "secret=A,B", "since=2026-05-01T12:00:00.001Z", "since=59m", "until=2026-05-01T12:00:00Z",
        "until=60m", "until=7d"}) {
    CAPTURE(field);
    CHECK_FALSE(Wanted({field}));
  }
  CHECK(Wanted({"secret=C", "secret=A", "since=2h", "until=30m"}));
  CHECK_FALSE(Wanted({"secret=A", "host=other.example"}));
  CHECK_FALSE(Wanted({"since=2h", "since=30m"}));  // Of times all hold.
}

TEST_CASE("a filter that no line could be asked for is refused with the keys that there are") {
  AuditFilter filter;
  for (const char* wrong : {"nonsense=1", "flow", "=1", ""}) {
    const auto added = filter.Add(wrong, {});
    REQUIRE_FALSE(added);
    for (const auto key : AuditLine::Keys()) {
      CHECK(added.error().message().find(key) != std::string::npos);
      CHECK(AuditLine().Get(key).has_value());
    }
    CHECK(added.error().message().find("host, secret, since, until") != std::string::npos);
  }
  for (const char* wrong : {"since=yesterday", "since=", "until=2026-5-1", "until=10", "since=10y",
                            "since=2026-05-01T12", "since=-1m", "since=99999999999999999999d",
                            "since=2026-05-01T12:00", "verdict=denied"}) {
    CAPTURE(wrong);
    CHECK_FALSE(filter.Add(wrong, {}));
  }
}

}  // namespace
}  // namespace sallyport
