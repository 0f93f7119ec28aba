#include "runtime/warden/audit_log.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sallyport::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// An AuditLog on a file without a name, with clocks that tick by hand.
class Desk {
 public:
  explicit Desk(AuditLog::Options options = {}) {
    char path[] = "/tmp/sallyport-audit-XXXXXX";
    const int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    unlink(path);
    file_ = UniqueFd(dup(fd));
    Open(UniqueFd(fd), std::move(options));
  }

  // An AuditLog that writes to FD.
  Desk(UniqueFd fd, AuditLog::Options options) { Open(std::move(fd), std::move(options)); }

  AuditLog& log() { return *log_; }
  void Close() { log_.reset(); }
  UniqueFd Duplicate() const { return UniqueFd(dup(file_.get())); }
  void Advance(milliseconds by) { passed_ += by; }
  void Flush() { log_->Flush(Now()); }

  std::string Text() const {
    struct stat info;
    REQUIRE(fstat(file_.get(), &info) == 0);
    std::string text(static_cast<size_t>(info.st_size), '\0');
    REQUIRE(pread(file_.get(), text.data(), text.size(), 0) == info.st_size);
    return text;
  }

  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    const std::string text = Text();
    for (size_t from = 0; from < text.size();) {
      const size_t end = text.find('\n', from);
      REQUIRE(end != std::string::npos);
      lines.push_back(text.substr(from, end - from));
      from = end + 1;
    }
    return lines;
  }

  std::vector<nlohmann::json> Records() const {
    std::vector<nlohmann::json> records;
    for (const std::string& line : Lines()) records.push_back(nlohmann::json::parse(line));
    return records;
  }

 private:
  void Open(UniqueFd fd, AuditLog::Options options) {
    options.sandbox = "s-1";
    options.now = [this] { return Now(); };
    options.wall = [this] {
      return std::chrono::system_clock::time_point(seconds(1'700'000'000) + passed_);
    };
    log_ = std::make_unique<AuditLog>(std::move(fd), std::move(options));
  }
  Clock::time_point Now() const { return Clock::time_point(seconds(1000) + passed_); }

  milliseconds passed_{0};
  UniqueFd file_;
  std::unique_ptr<AuditLog> log_;
};

AuditRecord Denial(uint64_t flow = 1) {
  AuditRecord record;
  record.flow = flow;
  record.transport = "tcp";
  record.name = "evil.example";
  record.port = 443;
  record.reason = Reason::kNotGranted;
  return record;
}

AuditRecord Allowance() {
  AuditRecord record;
  record.flow = 9;
  record.transport = "https";
  record.name = "api.example";
  record.address = IpAddress::V4(192, 0, 2, 7);
  record.port = 443;
  record.method = "GET";
  record.path = "/user";
  record.status = 200;
  record.rule = "policy.lua:3";
  record.allowed = true;
  record.secrets = {"TOKEN", "KEY"};
  record.bytes_up = 120;
  record.bytes_down = 4096;
  record.duration = std::chrono::microseconds(1500);
  return record;
}

uint64_t RepeatOf(const nlohmann::json& record) {
  return record.value("repeat", uint64_t{1});
}

TEST_CASE("a record is one line with its keys in order") {
  Desk desk;
  desk.Advance(milliseconds(7));
  desk.log().Write(Allowance());
  CHECK(desk.Text() ==
        R"({"time":"2023-11-14T22:13:20.007Z","sandbox":"s-1","flow":9,"generation":1,"transport":"https",)"
        R"("name":"api.example","address":"192.0.2.7","port":443,"method":"GET","path":"/user",)"
        R"("status":200,"rule":"policy.lua:3","verdict":"allow","reason":"allowed",)"
        R"("secrets":["TOKEN","KEY"],"bytes_up":120,"bytes_down":4096,"duration_us":1500})"
        "\n");
}

TEST_CASE("a record of a published port says so behind its transport") {
  Desk desk;
  AuditRecord record;
  record.transport = "tcp";
  record.direction = "in";
  record.port = 80;
  desk.log().Write(record);
  CHECK(desk.Text().find(R"("transport":"tcp","direction":"in","port":80)") != std::string::npos);
}

TEST_CASE("a record says which policy decided, and equal denials by two are two kinds") {
  Desk desk;
  AuditRecord denied;
  desk.log().Write(denied);
  desk.log().SetGeneration(2);
  desk.log().Write(denied);
  denied.generation = 1;
  desk.log().Write(denied);
  REQUIRE(desk.Lines().size() == 2);
  CHECK(desk.Lines()[0].find("\"generation\":1") != std::string::npos);
  CHECK(desk.Lines()[1].find("\"generation\":2") != std::string::npos);
}

TEST_CASE("a log that goes on in another file leaves what it wrote, but not once it has failed") {
  Desk first;
  Desk second;
  AuditRecord record;
  record.allowed = true;
  first.log().Write(record);
  first.log().Continue(second.Duplicate());
  first.log().Write(record);
  CHECK(first.Lines().size() == 1);
  CHECK(second.Lines().size() == 1);
  Desk full(UniqueFd(open("/dev/full", O_WRONLY | O_APPEND | O_CLOEXEC)), {});
  full.log().Write(record);
  full.log().Continue(second.Duplicate());
  full.log().Write(record);
  CHECK_FALSE(full.log().healthy());
  CHECK(second.Lines().size() == 1);
}

TEST_CASE("what was learnt, and what is the policy's own, is said") {
  Desk desk;
  AuditRecord record;
  record.transport = "tcp";
  record.allowed = true;
  record.learnt = true;
  desk.log().Write(record);
  record.learnt = false;
  record.by_policy = true;
  desk.log().Write(record);
  const auto records = desk.Records();
  REQUIRE(records.size() == 2);
  CHECK(records[0]["learnt"] == true);
  CHECK_FALSE(records[0].contains("by_policy"));
  CHECK(records[1]["by_policy"] == true);
  CHECK_FALSE(records[1].contains("learnt"));
}

TEST_CASE("messages of the policy are lines of their own, and equal ones are counted") {
  Desk desk;
  const AuditLog::Message message{.level = "warn", .text = "a \x1b\n", .place = "policy.lua:3", .flow = 7};
  for (int i = 0; i < 3; ++i) desk.log().WriteMessage(message);
  REQUIRE(desk.Records().size() == 1);
  const auto first = desk.Records()[0];
  CHECK(first["level"] == "warn");
  CHECK(first["message"] == "a \x1b\n");
  CHECK(desk.Text().find("a \\u001b\\u000a") != std::string::npos);
  CHECK(first["place"] == "policy.lua:3");
  CHECK(first["flow"] == 7);
  CHECK_FALSE(first.contains("verdict"));
  CHECK_FALSE(first.contains("reason"));
  desk.Advance(seconds(6));
  desk.Flush();
  REQUIRE(desk.Records().size() == 2);
  CHECK(desk.Records()[1]["repeat"] == 2);
}

TEST_CASE("messages beyond their own rate are counted, and take no decision's place") {
  Desk desk;
  for (int i = 0; i < 1000; ++i) {
    desk.log().WriteMessage({.level = "info", .text = std::to_string(i), .place = "p:1", .flow = 0});
  }
  CHECK(desk.Records().size() == 20);
  AuditRecord record;
  record.transport = "tcp";
  record.allowed = true;
  desk.log().Write(record);
  CHECK(desk.Records().size() == 21);
  desk.Advance(seconds(2));
  desk.Flush();
  bool counted = false;
  for (const auto& line : desk.Records()) {
    if (!line.contains("suppressed")) continue;
    counted = true;
    CHECK(line["suppressed"] == nlohmann::json{{"allow", 0}, {"deny", 0}, {"messages", 980}});
    CHECK(line["detail"].get<std::string>().find("20 messages") != std::string::npos);
  }
  CHECK(counted);
}

TEST_CASE("fields that are empty or unknown are left out") {
  Desk desk;
  AuditRecord record;
  record.reason = Reason::kLimit;
  desk.log().Write(record);
  CHECK(desk.Text() == R"({"time":"2023-11-14T22:13:20.000Z","sandbox":"s-1","generation":1,"verdict":"deny",)"
                       R"("reason":"limit"})"
                       "\n");
}

TEST_CASE("the last millisecond of a leap day is formatted") {
  Desk desk;
  desk.Advance(milliseconds(int64_t{1000} * (1'709'251'199 - 1'700'000'000) + 999));
  desk.log().Write(Allowance());
  CHECK(desk.Records()[0]["time"] == "2024-02-29T23:59:59.999Z");
}

TEST_CASE("equal denials in a window become one line at once and one with their number") {
  Desk desk;
  for (uint64_t flow = 1; flow <= 5; ++flow) {
    desk.log().Write(Denial(flow));
    desk.Advance(milliseconds(100));
  }
  REQUIRE(desk.Records().size() == 1);
  desk.Advance(seconds(5));
  desk.Flush();
  const auto records = desk.Records();
  REQUIRE(records.size() == 2);
  CHECK(records[0]["flow"] == 1);
  CHECK_FALSE(records[0].contains("repeat"));
  CHECK(records[1]["flow"] == 5);
  CHECK(records[1]["repeat"] == 4);
  CHECK(records[1]["time"] == "2023-11-14T22:13:20.400Z");
  CHECK(desk.Lines()[1].ends_with(R"("repeat":4})"));
}

TEST_CASE("a denial that came once more is told without a number") {
  Desk desk;
  desk.log().Write(Denial(1));
  desk.log().Write(Denial(2));
  desk.Advance(seconds(6));
  desk.Flush();
  const auto records = desk.Records();
  REQUIRE(records.size() == 2);
  CHECK(records[1]["flow"] == 2);
  CHECK_FALSE(records[1].contains("repeat"));
}

TEST_CASE("a denial after the window tells the count first and then itself") {
  Desk desk;
  for (uint64_t flow = 1; flow <= 4; ++flow) desk.log().Write(Denial(flow));
  desk.Advance(seconds(5));
  desk.log().Write(Denial(10));
  const auto records = desk.Records();
  REQUIRE(records.size() == 3);
  CHECK(records[1]["repeat"] == 3);
  CHECK(records[2]["flow"] == 10);
  CHECK_FALSE(records[2].contains("repeat"));
}

TEST_CASE("what differs in more than flow, bytes and duration is not equal") {
  Desk desk;
  AuditRecord other = Denial();
  other.port = 80;
  desk.log().Write(Denial());
  desk.log().Write(other);
  other.path = "/x";
  desk.log().Write(other);
  other.bytes_up = 7;
  other.duration = std::chrono::microseconds(3);
  desk.log().Write(other);  // Equal to the one before.
  CHECK(desk.Records().size() == 3);
}

TEST_CASE("allowed connections and requests are never counted together") {
  Desk desk;
  for (int i = 0; i < 10; ++i) desk.log().Write(Allowance());
  CHECK(desk.Records().size() == 10);
}

TEST_CASE("bytes of counted denials add up") {
  Desk desk;
  AuditRecord record = Denial();
  record.bytes_up = 10;
  for (int i = 0; i < 4; ++i) desk.log().Write(record);
  desk.Close();
  const auto records = desk.Records();
  REQUIRE(records.size() == 2);
  CHECK(records[0]["bytes_up"] == 10);
  CHECK(records[1]["bytes_up"] == 30);
}

TEST_CASE("closing the log writes every count") {
  Desk desk;
  for (int i = 0; i < 3; ++i) desk.log().Write(Denial());
  AuditRecord other = Denial();
  other.name = "other.example";
  for (int i = 0; i < 4; ++i) desk.log().Write(other);
  desk.Close();
  uint64_t told = 0;
  for (const auto& record : desk.Records()) told += RepeatOf(record);
  CHECK(told == 7);
}

TEST_CASE("the oldest kind gives way when there are too many, with its count") {
  AuditLog::Options options;
  options.max_kinds = 2;
  Desk desk(std::move(options));
  AuditRecord record = Denial();
  for (const char* name : {"a.example", "a.example", "a.example", "b.example", "c.example"}) {
    record.name = name;
    desk.log().Write(record);
  }
  const auto records = desk.Records();
  REQUIRE(records.size() == 4);  // a; b; c; then a's count, which c pushed out.
  CHECK(records[2]["name"] == "c.example");
  CHECK(records[3]["name"] == "a.example");
  CHECK(records[3]["repeat"] == 2);
}

TEST_CASE("any number of kinds keeps the sum of what is told") {
  AuditLog::Options options;
  options.max_kinds = 8;
  options.refusals = {.at_once = 2000, .per_second = 4000};
  Desk desk(std::move(options));
  uint64_t allowed = 0, denied = 0;
  uint32_t state = 1;
  for (int i = 0; i < 5000; ++i) {
    state = state * 1664525 + 1013904223;
    AuditRecord record = Denial(static_cast<uint64_t>(i));
    record.port = static_cast<uint16_t>(1 + (state >> 16) % 40);
    record.allowed = (state >> 28) == 0;
    ++(record.allowed ? allowed : denied);
    desk.log().Write(record);
    if (i % 7 == 0) desk.Advance(milliseconds(20));
    if (i % 100 == 0) desk.Flush();
  }
  desk.Close();
  uint64_t told_allowed = 0, told_denied = 0;
  for (const auto& record : desk.Records()) {
    if (record.contains("suppressed")) {
      told_allowed += record["suppressed"]["allow"].get<uint64_t>();
      told_denied += record["suppressed"]["deny"].get<uint64_t>();
    } else {
      (record["verdict"] == "allow" ? told_allowed : told_denied) += RepeatOf(record);
    }
  }
  CHECK(told_allowed == allowed);
  CHECK(told_denied == denied);
}

TEST_CASE("refusals beyond their budget are counted, and told in the next second") {
  AuditLog::Options options;
  options.refusals = {.at_once = 450, .per_second = 1};  // Three lines of Denial(), at most.
  Desk desk(std::move(options));
  AuditRecord record = Denial();
  for (uint16_t port = 1; port <= 7; ++port) {
    record.port = port;
    desk.log().Write(record);
  }
  const size_t told = desk.Records().size();
  CHECK(told >= 2);
  CHECK(told <= 3);
  desk.Advance(milliseconds(999));
  desk.Flush();
  CHECK(desk.Records().size() == told);
  desk.Advance(milliseconds(1));
  desk.Flush();
  const auto records = desk.Records();
  REQUIRE(records.size() == told + 1);
  CHECK(records[told]["reason"] == "limit");
  CHECK_FALSE(records[told].contains("verdict"));
  CHECK(records[told]["suppressed"]["allow"] == 0);
  CHECK(records[told]["suppressed"]["deny"] == 7 - told);
}

TEST_CASE("what was allowed, may have left, or was done by the user is told beside any number of refusals") {
  AuditLog::Options options;
  options.refusals = {.at_once = 0, .per_second = 0};
  Desk desk(std::move(options));
  AuditRecord answered = Allowance();
  answered.transport = "dns";
  AuditRecord broken = Denial();
  broken.transport = "https";
  broken.sent = true;
  AuditRecord command = Denial();
  command.transport = "control";
  uint64_t told = 0;
  for (uint16_t i = 1; i <= 500; ++i) {
    AuditRecord refused = Denial();
    refused.transport = i % 2 == 0 ? "dns" : "http";
    refused.name = "n" + std::to_string(i) + ".evil.example";
    desk.log().Write(refused);
    for (AuditRecord record : {Allowance(), answered, broken, command}) {
      record.path = "/" + std::to_string(i);
      desk.log().Write(record);
      ++told;
    }
  }
  uint64_t found = 0;
  for (const auto& record : desk.Records()) found += record.contains("suppressed") ? 0 : 1;
  CHECK(found == told);
}

TEST_CASE("equal answers to DNS questions are counted as equal denials are") {
  Desk desk;
  AuditRecord answered = Allowance();
  answered.transport = "dns";
  for (int i = 0; i < 5; ++i) desk.log().Write(answered);
  REQUIRE(desk.Records().size() == 1);
  desk.Close();
  CHECK(desk.Records()[1]["repeat"] == 4);
  CHECK(desk.Records()[1]["verdict"] == "allow");
}

TEST_CASE("made-up names are told by zone after the first of a second, each counted once") {
  AuditLog::Options options;
  options.names_per_second = 2;
  Desk desk(std::move(options));
  AuditRecord record = Denial();
  record.transport = "dns";
  record.reason = Reason::kNameNotGranted;
  const auto ask = [&](const std::string& name) {
    record.name = name;
    desk.log().Write(record);
  };
  for (int i = 0; i < 10; ++i) ask("n" + std::to_string(i) + ".x.evil.test");
  for (int i = 0; i < 20; ++i) ask("n" + std::to_string(i) + ".other.test.");
  ask("n9.x.evil.test");  // Known by nobody: it was counted by zone.
  CHECK(desk.Records().size() == 2);
  desk.Advance(seconds(1));
  desk.Flush();
  const auto records = desk.Records();
  REQUIRE(records.size() == 4);
  CHECK(records[2]["name"] == "*.evil.test");
  CHECK(records[2]["repeat"] == 9);
  CHECK(records[2]["verdict"] == "deny");
  CHECK(records[2]["reason"] == "name_not_granted");
  CHECK(records[3]["name"] == "*.other.test");
  CHECK(records[3]["repeat"] == 20);
  ask("later.evil.test");
  CHECK(desk.Records().back()["name"] == "later.evil.test");
}

TEST_CASE("zones can be made up, too, and are told together beyond a number") {
  AuditLog::Options options;
  options.names_per_second = 0;
  Desk desk(std::move(options));
  AuditRecord record = Denial();
  record.transport = "dns";
  for (int i = 0; i < 1000; ++i) {
    record.name = "x.z" + std::to_string(i) + ".test";
    desk.log().Write(record);
  }
  desk.Close();
  uint64_t told = 0;
  CHECK(desk.Records().size() < 20);
  for (const auto& line : desk.Records()) told += RepeatOf(line);
  CHECK(told == 1000);
}

TEST_CASE("a guest that is only refused takes hours to fill the log") {
  Desk desk;
  AuditRecord record = Denial();
  constexpr int kSeconds = 600;
  for (int i = 0; i < kSeconds * 100; ++i) {
    record.transport = i % 3 == 0 ? "dns" : "https";
    record.name = "n" + std::to_string(i) + ".evil.test";
    record.path = "/" + std::string(400, 'a') + std::to_string(i);
    desk.log().Write(record);
    desk.Advance(milliseconds(10));
  }
  const AuditLog::Options defaults;
  // The line of each second that tells what was held back is some 250 bytes.
  CHECK(desk.Text().size() < defaults.refusals.at_once + kSeconds * (defaults.refusals.per_second + 300));
}

TEST_CASE("hostile text is escaped, and what is not UTF-8 is replaced") {
  Desk desk;
  AuditRecord record = Denial();
  // A quote, a backslash, a newline, an escape sequence, a C1 control, an overlong slash, a lone
  // continuation, a surrogate, a cut sequence at the end.
  record.path = "/\"\\\n\x1b[2J\xC2\x9B|\xC0\xAF|\x80|\xED\xA0\x80|\xE2\x82";
  record.detail = "grün \xF0\x9F\x94\x92 \xE2\x80\xAE";
  desk.log().Write(record);
  const std::string line = desk.Lines().at(0);
  CHECK(line.find('\x1b') == std::string::npos);
  CHECK(line.find("\xE2\x80\xAE") == std::string::npos);
  const auto parsed = nlohmann::json::parse(line);
  CHECK(parsed["path"] ==
        "/\"\\\n\x1b[2J\u009B|\uFFFD\uFFFD|\uFFFD|\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD");
  CHECK(parsed["detail"] == "grün \U0001F512 \u202E");
}

TEST_CASE("long strings are cut at a character and marked") {
  Desk desk;
  AuditRecord record = Denial();
  for (int i = 0; i < 1000; ++i) record.path += "ü";
  record.detail = std::string(100'000, '\n');
  record.secrets.assign(100, std::string(1000, 'S'));
  desk.log().Write(record);
  const std::string line = desk.Lines().at(0);
  CHECK(line.size() < 4096);
  const auto parsed = nlohmann::json::parse(line);
  const std::string path = parsed["path"];
  CHECK(path.size() <= 512);
  CHECK(path.ends_with("ü…"));
  CHECK(parsed["secrets"].size() == 17);
  CHECK(parsed["secrets"][16] == "…");
}

TEST_CASE("a log without a descriptor is unhealthy from the start") {
  Desk desk(UniqueFd(), {});
  CHECK_FALSE(desk.log().healthy());
  desk.log().Write(Denial());
}

TEST_CASE("a write that fails makes the log unhealthy for good") {
  UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full.valid());
  Desk desk(std::move(full), {});
  CHECK(desk.log().healthy());
  desk.log().Write(Denial());
  CHECK_FALSE(desk.log().healthy());
  CHECK(desk.log().failure().find("No space left") != std::string::npos);
}

// Files of this process may not grow beyond SIZE bytes: a disk that fills up in the middle of a
// line.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t size) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = size;
    handler_ = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

TEST_CASE("a line that was cut short is the last thing in the log") {
  Desk desk;
  {
    SmallDisk disk(1000);
    for (int i = 0; i < 10; ++i) desk.log().Write(Allowance());
  }
  CHECK_FALSE(desk.log().healthy());
  desk.log().Write(Allowance());
  desk.Close();

  const std::string text = desk.Text();
  CHECK(text.size() == 1000);
  size_t whole = 0;
  for (size_t from = 0, end; (end = text.find('\n', from)) != std::string::npos; from = end + 1) {
    CHECK(nlohmann::json::accept(text.substr(from, end - from)));
    ++whole;
  }
  CHECK(whole > 0);
}

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
  Desk desk(std::move(options));
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
  Desk desk(std::move(options));
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
  Desk desk(UniqueFd(fds[1]), std::move(options));
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
  Desk desk(std::move(options));
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
