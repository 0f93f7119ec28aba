#include "runtime/api/audit_line.h"

#include <catch2/catch.hpp>

#include "runtime/api/audit_replay.h"

namespace sallyport {
namespace {

std::string Line(const std::string& members) {
  return R"({"time":"2026-01-02T03:04:05.678Z","sandbox":"sp-a",)" + members + "}";
}

Recorded One(const std::string& members) {
  const auto line = AuditLine::Parse(Line(members));
  REQUIRE(line);
  const auto recorded = RecordedOf(*line);
  REQUIRE(recorded);
  return *recorded;
}

bool SaysNothing(const std::string& members) {
  const auto line = AuditLine::Parse(Line(members));
  REQUIRE(line);
  return !RecordedOf(*line);
}

TEST_CASE("a line is read with every key, and shown for people") {
  const auto line = AuditLine::Parse(Line(
      R"("flow":7,"transport":"https","name":"a.example","port":443,"method":"GET","path":"/x",)"
      R"("status":403,"rule":"policy.lua:3","verdict":"deny","reason":"denied_by_rule",)"
      R"("secrets":["A","B"],"repeat":3)"));
  REQUIRE(line);
  CHECK(line->flow == 7);
  CHECK(line->Get("port") == "443");
  CHECK(line->Get("secrets") == "A,B");
  CHECK_FALSE(line->Get("nonsense"));
  CHECK(line->ToText() ==
        "2026-01-02T03:04:05.678Z sp-a/7  DENY   https GET https://a.example/x -> 403  "
        "denied_by_rule  by policy.lua:3  with A,B  x3");
}

TEST_CASE(
    "what was learnt is shown as such, and a callback's own fetch says nothing of the guest") {
  const char* learnt =
      R"("transport":"tcp","name":"a.example","port":22,"rule":"--learn","verdict":"allow","reason":"allowed","learnt":true)";
  const auto line = AuditLine::Parse(Line(learnt));
  REQUIRE(line);
  CHECK(line->learnt);
  CHECK(line->Get("learnt") == "true");
  CHECK(line->ToText() == "2026-01-02T03:04:05.678Z sp-a  learnt tcp a.example:22  by --learn");
  CHECK(One(learnt).allowed);
  CHECK(SaysNothing(
      R"("transport":"https","name":"a.example","port":443,"method":"GET","path":"/","verdict":"allow","reason":"allowed","by_policy":true)"));
}

TEST_CASE("a line of the policy's own is shown as such, and decides nothing") {
  const char* said =
      R"("flow":7,"level":"warn","message":"too \u001bmuch","place":"policy.lua:3","repeat":2)";
  const auto line = AuditLine::Parse(Line(said));
  REQUIRE(line);
  CHECK(line->ToText() == "2026-01-02T03:04:05.678Z sp-a/7  warn  policy.lua:3: too ?much  x2");
  CHECK(line->Get("level") == "warn");
  CHECK(SaysNothing(said));
}

TEST_CASE("what is no audit line is none") {
  for (const char* text :
       {"", "{", "[]", "7", "{}", R"({"time":7})", R"({"time":"x","port":65536})",
        R"({"time":"x","port":"1"})", R"({"time":"x","secrets":["a",1]})",
        R"({"time":"x","flow":-1})", R"({"time":"x","learnt":1})",
        R"({"time":"x","suppressed":{"allow":"many"}})"}) {
    INFO(text);
    CHECK_FALSE(AuditLine::Parse(text));
  }
}

TEST_CASE("what a guest wrote into a line does not act on the reader's terminal") {
  const auto line = AuditLine::Parse(Line(
      R"("transport":"http","name":"a.example","port":80,"method":"GET","path":"/\u001b[2J\u009b\u202e","verdict":"deny","reason":"not_granted")"));
  REQUIRE(line);
  CHECK(line->ToText().find("http://a.example/?[2J??") != std::string::npos);
}

TEST_CASE("a line is what could have been asked of the policy") {
  const auto request = One(
      R"("transport":"https","name":"a.example","port":443,"method":"POST","path":"/x","reason":"not_granted")");
  CHECK(request.words == "POST https://a.example:443/x");
  CHECK_FALSE(request.allowed);
  CHECK(request.question.kind == policy::Question::Kind::kRequest);
  CHECK(One(R"("transport":"tcp","address":"2001:db8::1","port":22,"reason":"allowed")").words ==
        "tcp [2001:db8::1]:22");
  CHECK(One(R"("transport":"https","name":"a.example","port":443,"reason":"allowed")").words ==
        "tcp a.example:443");
  CHECK(
      One(R"("transport":"dns","name":"a.example","port":53,"method":"A","reason":"name_not_granted")")
          .words == "dns a.example");
  CHECK(
      One(R"("transport":"dns","name":"a.example","method":"TXT","reason":"not_granted")").words ==
      "dns a.example TXT");
  CHECK(
      One(R"("transport":"tcp","name":"a.example","port":22,"reason":"upstream_refused")").allowed);
}

TEST_CASE("a line of a published port says who came, and to which port") {
  const auto line = AuditLine::Parse(Line(
      R"("transport":"tcp","direction":"in","address":"::1","port":80,"rule":"port [::1]:8080","verdict":"allow","reason":"allowed")"));
  REQUIRE(line);
  CHECK(line->Get("direction") == "in");
  CHECK(line->ToText().find("tcp from [::1] to port 80  by port [::1]:8080") != std::string::npos);
}

TEST_CASE("a line of a command says what it did") {
  const auto line = AuditLine::Parse(Line(
      R"("transport":"control","method":"port add","verdict":"allow","reason":"allowed","detail":"tcp 127.0.0.1:8080 to port 80")"));
  REQUIRE(line);
  CHECK(line->ToText().ends_with("allow  control port add: tcp 127.0.0.1:8080 to port 80"));
}

TEST_CASE("what was not decided by the policy is not held against it") {
  CHECK(SaysNothing(R"("transport":"control","method":"secret rotate","reason":"allowed")"));
  CHECK(SaysNothing(
      R"("transport":"https","name":"a.example","port":443,"method":"GET","path":"/","reason":"secret_wrong_host")"));
  CHECK(SaysNothing(
      R"("transport":"dns","name":"a.example","method":"HTTPS","reason":"name_not_granted")"));
  CHECK(SaysNothing(
      R"("transport":"https","name":"a.example","port":443,"method":"GET","path":"/long…","reason":"allowed")"));
  CHECK(SaysNothing(R"("transport":"udp","port":1,"reason":"unknown_address")"));
  CHECK(SaysNothing(
      R"("transport":"tcp","direction":"in","address":"127.0.0.1","port":80,"reason":"allowed")"));
}

TEST_CASE("a recording has each decision once, and counts what it can't read") {
  const std::string tcp =
      Line(R"("transport":"tcp","name":"a.example","port":22,"reason":"allowed")");
  const Recording recording = ReadRecording(
      tcp + "\n" + tcp + "\n\nnot json\n" +
      Line(R"("transport":"tcp","name":"a.example","port":22,"reason":"not_granted")") + "\n");
  CHECK(recording.lines == 4);
  CHECK(recording.unread == 1);
  CHECK(recording.decisions.size() == 2);
}

}  // namespace
}  // namespace sallyport
