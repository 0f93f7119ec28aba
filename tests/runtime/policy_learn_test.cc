#include "runtime/api/policy_learn.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/api/policy_format.h"
#include "runtime/api/policy_tests.h"
#include "runtime/api/policy_tools.h"
#include "tests/support/folder.h"

namespace sallyport {
namespace {

using testing::Folder;

std::string Contents(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

std::string Line(const std::string& members, const char* sandbox = "sp-a") {
  return std::string(R"({"time":"2026-01-02T03:04:05.678Z","sandbox":")") + sandbox + R"(",)" +
         members + "}\n";
}
std::string Request(const std::string& host, const std::string& method, const std::string& path,
                    const std::string& more = R"("verdict":"allow","reason":"allowed")") {
  return Line(R"("transport":"https","name":")" + host + R"(","port":443,"method":")" + method +
              R"(","path":")" + path + R"(",)" + more);
}

bool Has(const std::string& text, const std::string& piece) {
  return text.find(piece) != std::string::npos;
}

/// The rules, without the comments at the front.
std::string RulesOf(const std::string& text) {
  return text.substr(text.find("\n\n") + 2);
}

const std::string kLog =
    Request("api.example.com", "GET", "/items/1") + Request("api.example.com", "POST", "/items/2") +
    Line(
        R"("transport":"dns","name":"db.example.com","port":53,"method":"A","verdict":"allow","reason":"allowed","learnt":true)") +
    Line(
        R"("transport":"tcp","name":"db.example.com","port":5432,"rule":"--learn","verdict":"allow","reason":"allowed","learnt":true)") +
    Line(
        R"("transport":"dns","name":"looked.example.com","port":53,"method":"A","verdict":"allow","reason":"allowed")") +
    Line(
        R"("transport":"dns","name":"gone.example.com","port":53,"method":"A","verdict":"deny","reason":"name_not_found")") +
    Line(
        R"("transport":"dns","name":"no.example.com","port":53,"method":"A","verdict":"deny","reason":"name_not_granted")") +
    Request("no.example.com", "GET", "/", R"("verdict":"deny","reason":"name_not_granted")") +
    Request("key.example.com", "GET", "/",
            R"("verdict":"deny","reason":"foreign_credential","learnt":true)") +
    Request("fetched.example.com", "GET", "/",
            R"("verdict":"allow","reason":"allowed","by_policy":true)") +
    Request("down.example.com", "GET", "/",
            R"("verdict":"deny","reason":"upstream_refused","learnt":true)") +
    Line(R"("transport":"control","method":"learn","verdict":"allow","reason":"allowed")");

TEST_CASE("rules are made of what a log says was allowed, and hold it") {
  const Folder folder;
  const std::string log = folder.Write("audit.jsonl", kLog);
  const auto learnt = LearnPolicy({.audits = {log}, .sandbox = "", .over = {}});
  REQUIRE(learnt);
  CHECK(RulesOf(learnt->text) ==
        "allow.http { host = \"api.example.com\", method = { \"GET\", \"POST\" }, path = "
        "\"/items/*\" }\n"
        "-- rare: 1 request\n"
        "allow.http { host = \"down.example.com\", method = \"GET\", path = \"/\" }\n\n"
        "-- rare: 1 connection\n"
        "allow.tcp { host = \"db.example.com\", port = 5432 }\n\n"
        "-- looked up only\n"
        "allow.dns { host = \"looked.example.com\" }\n");
  CHECK(learnt->decisions == 6);
  CHECK(learnt->notes.empty());
  const std::string file = folder.Write("learnt.lua", learnt->text);
  CHECK(CheckPolicy(file)->messages.empty());
  CHECK(FormatPolicy(file, FormatMode::kCheck) == false);
  // All that the log allows, and nothing else, is allowed; but for the name without an answer.
  const auto replayed = TestPolicy({.files = {}, .policy = file, .audit = log});
  CHECK(replayed.failed == 1);
  CHECK(Has(replayed.text, "FAIL  dns gone.example.com\n"));
}

TEST_CASE("other records of a name are learnt and replayed by their type") {
  const Folder folder;
  const auto line = [](const char* type, const char* rest) {
    return Line(std::string(R"("transport":"dns","name":"a.example.com","port":53,"method":")") + type +
                R"(",)" + rest);
  };
  const std::string log = folder.Write(
      "audit.jsonl", line("TXT", R"("verdict":"allow","reason":"allowed")") +
                         line("MX", R"("verdict":"deny","reason":"not_granted")") +
                         line("HTTPS", R"("verdict":"deny","reason":"name_not_granted")"));
  const auto learnt = LearnPolicy({.audits = {log}, .sandbox = "", .over = {}});
  REQUIRE(learnt);
  CHECK(RulesOf(learnt->text) == "allow.dns { host = \"a.example.com\", types = \"TXT\" }\n");
  const std::string file = folder.Write("learnt.lua", learnt->text);
  CHECK(TestPolicy({.files = {}, .policy = file, .audit = log}).failed == 0);
  const std::string other = folder.Write("mx.lua", "allow.dns { host = 'a.example.com', types = 'MX' }");
  const auto replayed = TestPolicy({.files = {}, .policy = other, .audit = log});
  CHECK(replayed.failed == 2);
  CHECK(Has(replayed.text, "dns a.example.com TXT"));
  CHECK(Has(replayed.text, "dns a.example.com MX"));
}

TEST_CASE("of a sandbox that learns only what it marked counts, and of several logs one sandbox") {
  const Folder folder;
  const std::string log = folder.Write(
      "audit.jsonl", kLog + Request("b.example.com", "GET", "/", "\"reason\":\"allowed\""));
  const std::string other = folder.Write(
      "other.jsonl",
      Line(R"("transport":"tcp","name":"b.example.com","port":22,"reason":"allowed")", "sp-b"));
  const auto learnt = LearnPolicy(
      {.audits = {log}, .sandbox = "sp-a", .take = LearnPlan::Take::kLearnt, .over = {}});
  REQUIRE(learnt);
  CHECK_FALSE(Has(learnt->text, "api.example.com"));
  CHECK(Has(learnt->text, "allow.tcp { host = \"db.example.com\", port = 5432 }"));
  CHECK(Has(learnt->text, "down.example.com"));
  const auto one = LearnPolicy({.audits = {log, other}, .sandbox = "sp-b", .over = {}});
  REQUIRE(one);
  CHECK(RulesOf(one->text) ==
        "-- rare: 1 connection\nallow.tcp { host = \"b.example.com\", port = 22 }\n");
}

TEST_CASE("what a policy allows already is not written again") {
  const Folder folder;
  const std::string log = folder.Write("audit.jsonl", kLog);
  const std::string policy = folder.Write("mine.lua",
                                        "allow.http { host = 'api.example.com', method = 'GET' }\n"
                                        "allow.dns { host = 'looked.example.com' }\n");
  const auto learnt = LearnPolicy({.audits = {log}, .sandbox = "", .over = policy});
  REQUIRE(learnt);
  CHECK(Has(learnt->text, "-- What mine.lua allows is not repeated"));
  CHECK(Has(learnt->text,
            "allow.http { host = \"api.example.com\", method = \"POST\", path = \"/items/*\" }"));
  CHECK_FALSE(Has(learnt->text, "looked"));
  // Behind the policy's own rules they allow all of it.
  const std::string both = folder.Write("both.lua", Contents(policy) + learnt->text);
  CHECK(TestPolicy({.files = {}, .policy = both, .audit = log}).failed == 1);
  const std::string wrong = folder.Write("wrong.lua", "allow.htpp {}");
  CHECK_FALSE(LearnPolicy({.audits = {log}, .sandbox = "", .over = wrong}));
}

TEST_CASE("what a log can't say, or no rule may, is told") {
  const Folder folder;
  const std::string cut(509, 'x');
  const std::string log = folder.Write(
      "audit.jsonl",
      "no line\n" + Line(R"("reason":"limit","detail":"x","suppressed":{"allow":3,"deny":1})") +
          Line(R"("transport":"tcp","address":"10.0.0.1","port":22,"reason":"allowed")") +
          Request("a.example.com", "GET", "/files/" + cut + "…"));
  const auto learnt = LearnPolicy({.audits = {log}, .sandbox = "", .over = {}});
  REQUIRE(learnt);
  REQUIRE(learnt->notes.size() == 3);
  CHECK(learnt->notes[0] == "1 line can't be read");
  CHECK(Has(learnt->notes[1], "3 allowed decisions were only counted"));
  CHECK(Has(learnt->notes[2], "tcp 10.0.0.1:22"));
  CHECK(Has(learnt->text, "-- not written: tcp 10.0.0.1:22"));
  CHECK(Has(learnt->text, "path = \"/files/**\""));
  CHECK(
      LearnPolicy({.audits = {folder.path + "/none"}, .sandbox = "", .over = {}}).error().code() ==
      Code::kNotFound);
}

TEST_CASE("a log that a guest fills with its own words makes a policy, not code") {
  const Folder folder;
  const std::string log = folder.Write(
      "audit.jsonl",
      Request("a.example.com", "GET", "/\\\" } os.exit() --\\n]]") +
          Request("a.example.com", "GET", "/\\u0000\\u001b[2J/\\\\\\\"x") +
          Request("evil\\nname", "GET", "/") +
          Line(
              R"_("transport":"https","name":"a.example.com","port":443,"method":"GET","path":"/y","reason":"allowed","secrets":["T\nboom()"])_"));
  const auto learnt = LearnPolicy({.audits = {log}, .sandbox = "", .over = {}});
  REQUIRE(learnt);
  const std::string file = folder.Write("learnt.lua", learnt->text);
  CHECK(CheckPolicy(file)->messages.empty());
  CHECK_FALSE(Has(learnt->text, "\nboom"));
}

TEST_CASE("who came in through a published port gives the guest no way out to them") {
  const Folder folder;
  const std::string log = folder.Write(
      "audit.jsonl",
      Line(
          R"("transport":"tcp","direction":"in","address":"93.184.216.34","port":22,"verdict":"allow","reason":"allowed")") +
          Line(
              R"("transport":"udp","direction":"in","address":"93.184.216.34","port":53,"verdict":"deny","reason":"upstream_refused")"));
  const auto learnt = LearnPolicy({.audits = {log}, .sandbox = "", .over = {}});
  REQUIRE(learnt);
  CHECK(Has(learnt->text, "There was nothing to learn."));
  CHECK_FALSE(Has(learnt->text, "93.184.216.34"));
}

TEST_CASE("an empty log makes an empty policy") {
  const Folder folder;
  const auto learnt =
      LearnPolicy({.audits = {folder.Write("audit.jsonl", "")}, .sandbox = "", .over = {}});
  REQUIRE(learnt);
  CHECK(Has(learnt->text, "There was nothing to learn."));
  CHECK(CheckPolicy(folder.Write("learnt.lua", learnt->text))->valid);
}

TEST_CASE("learnt rules replace learnt rules, never what somebody wrote") {
  const Folder folder;
  const std::string mine = folder.Write("mine.lua", "allow.http { host = 'a.example' }\n");
  CHECK(OpenLearntFile(mine).error().code() == Code::kInvalid);
  CHECK_FALSE(OpenLearntFile(folder.path + "/none/x.lua"));
  CHECK_FALSE(OpenLearntFile(folder.path + "/"));
  const std::string fresh = folder.path + "/fresh.lua";
  const auto learnt =
      LearnPolicy({.audits = {folder.Write("audit.jsonl", "")}, .sandbox = "", .over = {}});
  for (int round = 0; round < 2; ++round) {
    const auto file = OpenLearntFile(fresh);
    REQUIRE(file);
    REQUIRE(file->Write(learnt->text));
    CHECK(Contents(fresh) == learnt->text);
  }
}

TEST_CASE("a file is replaced whole, with its mode, and where its folder was when it was opened") {
  const Folder folder;
  const std::string path = folder.Write("policy.lua", "old");
  REQUIRE(chmod(path.c_str(), 0640) == 0);
  const auto file = ReplacedFile::Open(path);
  REQUIRE(file);
  const std::string elsewhere = folder.path + "-elsewhere";
  std::filesystem::rename(folder.path, elsewhere);
  REQUIRE(file->Write("new"));
  std::filesystem::rename(elsewhere, folder.path);
  CHECK(Contents(path) == "new");
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0640);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("a symbolic link in the place of the file is replaced, not followed") {
  const Folder folder;
  const std::string target = folder.Write("target", "untouched");
  std::filesystem::create_symlink(target, folder.path + "/learnt.lua");
  const auto file = ReplacedFile::Open(folder.path + "/learnt.lua");
  REQUIRE(file);
  REQUIRE(file->Write("new"));
  CHECK(Contents(target) == "untouched");
  CHECK(Contents(folder.path + "/learnt.lua") == "new");
}

}  // namespace
}  // namespace sallyport
