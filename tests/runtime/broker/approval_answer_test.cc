#include "runtime/broker/approval_answer.h"

#include <catch2/catch.hpp>
#include <string>

#include "runtime/broker/approval_desk.h"
#include "runtime/broker/webhook.h"

namespace sallyport::runtime {
namespace {

using Answer = ApprovalAnswer;

TEST_CASE("an answer is a decision, and perhaps its scope") {
  CHECK(*ParseApprovalAnswer(R"({"decision":"allow","scope":"once"})") == Answer::kOnce);
  CHECK(*ParseApprovalAnswer(R"( {"scope" : "session", "decision" : "allow"} )") ==
        Answer::kSession);
  CHECK(*ParseApprovalAnswer("{\"decision\":\"deny\"}\n") == Answer::kDeny);
  CHECK(*ParseApprovalAnswer(R"({"decision":"deny","scope":"session"})") == Answer::kDenySession);
  CHECK(*ParseApprovalAnswer(R"({"decision":"allow"})") == Answer::kOnce);
}

TEST_CASE("what is not quite an answer is none, and is not repeated") {
  for (const std::string text : {"",
                                 "allow",
                                 "\"allow\"",
                                 "{}",
                                 "[]",
                                 R"({"scope":"once"})",
                                 R"({"decision":"Allow"})",
                                 R"({"decision":true})",
                                 R"({"decision":"allow","scope":"forever"})",
                                 R"({"decision":"allow","scope":null})",
                                 R"({"decision":"allow","scope":"once","id":1})",
                                 R"({"decision":"deny","decision":"allow"})",
                                 R"({"decision":"allow","scope":"once","scope":"once"})",
                                 R"({"decision":"allow"}x)",
                                 R"({"decision":"allow",})",
                                 R"({"decision":"allow"}{"decision":"allow"})",
                                 R"([{"decision":"allow"}])",
                                 R"({"Decision":"allow"})",
                                 R"({"decision":"allow","x":{"decision":"allow"}})",
                                 R"({"decision":["allow"]})",
                                 "{\"decision\":\"allow\" /* yes */}"}) {
    CAPTURE(text);
    const auto answer = ParseApprovalAnswer(text);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().message().find("forever") == std::string::npos);
  }
  CHECK_FALSE(ParseApprovalAnswer(R"({"decision":"allow"})" + std::string(2000, ' ')));
  CHECK_FALSE(ParseApprovalAnswer(std::string(900, '[')));
}

TEST_CASE("a command answers by its status, or by what it prints with status 0") {
  CHECK(*JudgeCommand(0, "") == Answer::kOnce);
  CHECK(*JudgeCommand(0, " \n") == Answer::kOnce);
  CHECK(*JudgeCommand(0, R"({"decision":"deny"})") == Answer::kDeny);
  CHECK(*JudgeCommand(0, R"({"decision":"allow","scope":"session"})") == Answer::kSession);
  CHECK_FALSE(JudgeCommand(0, "sure"));
  CHECK(*JudgeCommand(1, "") == Answer::kDeny);
  CHECK(*JudgeCommand(1, "no way") == Answer::kDeny);
  CHECK(*JudgeCommand(1, R"({"decision":"allow","scope":"session"})") == Answer::kDeny);
  CHECK(*JudgeCommand(1, R"({"decision":"deny","scope":"session"})") == Answer::kDenySession);
  for (const int status : {2, 126, 127, 255})
    CHECK_FALSE(JudgeCommand(status, R"({"decision":"allow"})"));
}

TEST_CASE("a webhook's answer has status 200") {
  HttpAnswer answer;
  answer.body.text = R"({"decision":"allow"})";
  for (const int status : {201, 204, 302, 400, 500}) {
    answer.status = status;
    CHECK_FALSE(ReadWebhookAnswer(answer));
  }
  answer.status = 200;
  CHECK(*ReadWebhookAnswer(answer) == Answer::kOnce);
}

TEST_CASE("a question is signed with its time") {
  const auto time = std::chrono::system_clock::from_time_t(1700000000);
  // printf 1700000000.{} | openssl dgst -sha256 -hmac key
  CHECK(SignQuestion("key", time, "{}") ==
        "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae");
}

TEST_CASE("an error names a webhook without its path") {
  CHECK(OriginOf(*HttpUrl::Parse("https://hook.example:8443/secret?x=y")) ==
        "https://hook.example:8443");
}

// ---- The desk.

/// A channel that is answered by hand.
struct Hand {
  ApprovalDesk::Channel Channel(std::string name) {
    return {std::move(name), [this](std::string_view, auto done) {
              ++asked;
              waiting = std::move(done);
              return Pending([this] { ++cancelled; });
            }};
  }
  std::function<void(Result<Answer>)> waiting;
  int asked = 0;
  int cancelled = 0;
};

struct Desk {
  Hand first;
  Hand second;
  std::vector<std::string> told;
  ApprovalDesk desk{
      {first.Channel("first"), second.Channel("second")}, [this](BrokerAnswer answer) {
        told.push_back(std::to_string(answer.id) + " " +
                       std::to_string(static_cast<int>(answer.approval)) + " " + answer.bytes.text);
      }};
};

TEST_CASE("the first answer counts, and the others are not waited for") {
  Desk desk;
  desk.desk.Ask(7, "{}");
  desk.desk.Ask(7, "{}");  // Asked already.
  CHECK(desk.first.asked == 1);
  CHECK(desk.second.asked == 1);
  const auto late = desk.first.waiting;
  desk.second.waiting(Answer::kOnce);
  CHECK(desk.told == std::vector<std::string>{"7 1 second"});
  CHECK(desk.first.cancelled == 1);
  late(Answer::kDeny);
  CHECK(desk.told.size() == 1);
  desk.desk.Ask(7, "{}");  // Anew.
  CHECK(desk.first.asked == 2);
}

TEST_CASE("a channel that fails is told, and the other is still waited for") {
  Desk desk;
  desk.desk.Ask(7, "{}");
  desk.first.waiting(Fail(Code::kTimeout, "too late"));
  CHECK(desk.told == std::vector<std::string>{"7 0 first: too late"});
  CHECK(desk.second.cancelled == 0);
  desk.second.waiting(Answer::kDeny);
  CHECK(desk.told.back() == "7 3 second");
}

TEST_CASE("a question that is forgotten is called off everywhere") {
  Desk desk;
  desk.desk.Ask(7, "{}");
  desk.desk.Forget(7);
  desk.desk.Forget(8);
  CHECK(desk.first.cancelled == 1);
  CHECK(desk.second.cancelled == 1);
  desk.first.waiting(Answer::kOnce);
  CHECK(desk.told.empty());
}

TEST_CASE("more questions than a desk takes are failed at once") {
  Desk desk;
  for (uint64_t id = 1; id <= 64; ++id) desk.desk.Ask(id, "{}");
  CHECK(desk.told.empty());
  desk.desk.Ask(65, "{}");
  CHECK(desk.told.size() == 2);
  CHECK(desk.first.asked == 64);
}

}  // namespace
}  // namespace sallyport::runtime
