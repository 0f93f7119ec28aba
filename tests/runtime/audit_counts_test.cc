#include "runtime/warden/audit_log.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tests/runtime/audit_desk.h"

namespace sallyport::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("messages of the policy are lines of their own, and equal ones are counted") {
  AuditDesk desk;
  const AuditLog::Message message{
      .level = "warn", .text = "a \x1b\n", .place = "policy.lua:3", .flow = 7};
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
  AuditDesk desk;
  for (int i = 0; i < 1000; ++i) {
    desk.log().WriteMessage(
        {.level = "info", .text = std::to_string(i), .place = "p:1", .flow = 0});
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

TEST_CASE("equal denials in a window become one line at once and one with their number") {
  AuditDesk desk;
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
  AuditDesk desk;
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
  AuditDesk desk;
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
  AuditDesk desk;
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
  AuditDesk desk;
  for (int i = 0; i < 10; ++i) desk.log().Write(Allowance());
  CHECK(desk.Records().size() == 10);
}

TEST_CASE("bytes of counted denials add up") {
  AuditDesk desk;
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
  AuditDesk desk;
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
  AuditDesk desk(std::move(options));
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
  AuditDesk desk(std::move(options));
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
  AuditDesk desk(std::move(options));
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

TEST_CASE(
    "what was allowed, may have left, or was done by the user is told beside any number of "
    "refusals") {
  AuditLog::Options options;
  options.refusals = {.at_once = 0, .per_second = 0};
  AuditDesk desk(std::move(options));
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
  AuditDesk desk;
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
  AuditDesk desk(std::move(options));
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
  AuditDesk desk(std::move(options));
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
  AuditDesk desk;
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
  CHECK(desk.Text().size() <
        defaults.refusals.at_once + kSeconds * (defaults.refusals.per_second + 300));
}

}  // namespace
}  // namespace sallyport::runtime
