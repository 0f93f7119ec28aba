#include "runtime/warden/audit_log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/runtime/audit_desk.h"

namespace sallyport::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("a record is one line with its keys in order") {
  AuditDesk desk;
  desk.Advance(milliseconds(7));
  desk.log().Write(Allowance());
  CHECK(desk.Text() ==
        R"({"time":"2023-11-14T22:13:20.007Z","sandbox":"s-1","flow":9,"generation":1,)"
        R"("transport":"https","name":"api.example","address":"192.0.2.7","port":443,)"
        R"("method":"GET","path":"/user",)"
        R"("status":200,"rule":"policy.lua:3","verdict":"allow","reason":"allowed",)"
        R"("secrets":["TOKEN","KEY"],"bytes_up":120,"bytes_down":4096,"duration_us":1500})"
        "\n");
}

TEST_CASE("a record of a published port says so behind its transport") {
  AuditDesk desk;
  AuditRecord record;
  record.transport = "tcp";
  record.direction = "in";
  record.port = 80;
  desk.log().Write(record);
  CHECK(desk.Text().find(R"("transport":"tcp","direction":"in","port":80)") != std::string::npos);
}

TEST_CASE("a record says which policy decided, and equal denials by two are two kinds") {
  AuditDesk desk;
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
  AuditDesk first;
  AuditDesk second;
  AuditRecord record;
  record.allowed = true;
  first.log().Write(record);
  first.log().Continue(second.Duplicate());
  first.log().Write(record);
  CHECK(first.Lines().size() == 1);
  CHECK(second.Lines().size() == 1);
  AuditDesk full(UniqueFd(open("/dev/full", O_WRONLY | O_APPEND | O_CLOEXEC)), {});
  full.log().Write(record);
  full.log().Continue(second.Duplicate());
  full.log().Write(record);
  CHECK_FALSE(full.log().healthy());
  CHECK(second.Lines().size() == 1);
}

TEST_CASE("what was learnt, and what is the policy's own, is said") {
  AuditDesk desk;
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

TEST_CASE("fields that are empty or unknown are left out") {
  AuditDesk desk;
  AuditRecord record;
  record.reason = Reason::kLimit;
  desk.log().Write(record);
  CHECK(desk.Text() ==
        R"({"time":"2023-11-14T22:13:20.000Z","sandbox":"s-1","generation":1,)"
        R"("verdict":"deny","reason":"limit"})"
        "\n");
}

TEST_CASE("the last millisecond of a leap day is formatted") {
  AuditDesk desk;
  desk.Advance(milliseconds(int64_t{1000} * (1'709'251'199 - 1'700'000'000) + 999));
  desk.log().Write(Allowance());
  CHECK(desk.Records()[0]["time"] == "2024-02-29T23:59:59.999Z");
}

TEST_CASE("hostile text is escaped, and what is not UTF-8 is replaced") {
  AuditDesk desk;
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
  AuditDesk desk;
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
  AuditDesk desk(UniqueFd(), {});
  CHECK_FALSE(desk.log().healthy());
  desk.log().Write(Denial());
}

TEST_CASE("a write that fails makes the log unhealthy for good") {
  UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full.valid());
  AuditDesk desk(std::move(full), {});
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
  AuditDesk desk;
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

/// A record with each field as long and as odd as it can come.
AuditRecord Filled(Reason reason, bool allowed) {
  const std::string odd = "a\n\x1b\"\\\xff\xe2\x82\xac\xf0\x9f\x99\x82";
  std::string much;
  while (much.size() < 5000) much += odd;
  AuditRecord record = Allowance();
  record.flow = UINT64_MAX / 2;
  record.name = record.path = record.rule = record.detail = record.how_to_allow = much;
  record.method = odd;
  record.port = UINT16_MAX;
  record.status = 599;
  record.reason = reason;
  record.allowed = allowed;
  record.secrets.clear();
  for (int i = 0; i < 100; ++i) record.secrets.push_back("SECRET_" + std::to_string(i));
  return record;
}

// Not a test by itself: tests/check_documents/check_audit_lines.py holds what it prints to the schema.
TEST_CASE("lines of every kind", "[.lines]") {
  AuditDesk desk;
  for (int i = 0; ToString(static_cast<Reason>(i)) != ToString(static_cast<Reason>(1000)); ++i) {
    for (const bool allowed : {true, false}) {
      for (const char* transport : {"tcp", "udp", "icmp", "dns", "http", "https", "control"}) {
        AuditRecord record = Filled(static_cast<Reason>(i), allowed);
        record.transport = transport;
        desk.log().Write(record);
        AuditRecord bare;
        bare.transport = transport;
        bare.reason = record.reason;
        bare.allowed = allowed;
        for (int times = 0; times < 3; ++times) desk.log().Write(bare);
      }
    }
    desk.Advance(seconds(100));  // Whatever was counted has its line, and more may be told.
    desk.Flush();
  }
  AuditRecord record = Filled(Reason::kAllowed, true);
  record.direction = "in";
  desk.log().Write(record);
  record.direction.clear();
  record.learnt = true;
  desk.log().Write(record);
  record.learnt = false;
  record.by_policy = true;
  desk.log().Write(record);
  for (const char* level : {"info", "warn"}) {
    const AuditLog::Message message{
        .level = level, .text = record.detail, .place = record.rule, .flow = record.flow};
    for (int times = 0; times < 3; ++times) desk.log().WriteMessage(message);
  }
  for (int i = 0; i < 1000; ++i) {
    desk.log().WriteMessage(
        {.level = "info", .text = std::to_string(i), .place = "p:1", .flow = 0});
    record = Denial();
    record.transport = "dns";
    record.method = "TXT";
    record.reason = Reason::kNameNotGranted;
    record.name = "n" + std::to_string(i) + ".evil.example";
    desk.log().Write(record);
  }
  desk.Advance(seconds(100));
  desk.Flush();
  std::cout << desk.Text();
}

}  // namespace
}  // namespace sallyport::runtime
