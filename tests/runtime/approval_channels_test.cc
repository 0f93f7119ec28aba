#include "runtime/warden/approval_channels.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runtime/broker/requests.h"
#include "runtime/warden/telemetry_feed.h"
#include "tests/fakes/recording_audit.h"
#include "tests/mitm/test_loop.h"

namespace sallyport::runtime {
namespace {

using nlohmann::json;
using policy::Approval;
using namespace std::chrono_literals;

Approvals::Subject Charge(const std::string& path = "/v1/charges?card=42") {
  Approvals::Subject subject;
  subject.kind = "https";
  subject.host = "api.stripe.com";
  subject.port = 443;
  subject.method = "POST";
  subject.path = path;
  subject.rule = "payments";
  subject.place = "policy.lua:3";
  subject.message = "call Stripe?";
  subject.secrets = {"STRIPE_KEY"};
  subject.body_start = "\x1b[2J\xff amount=9";
  subject.body_bytes = 120;
  return subject;
}

/// A desk whose questions go to a broker that the test plays.
struct Desk : mitm::TestLoop {
  Pending Ask(Approvals::Subject subject, std::chrono::milliseconds limit = 25s) {
    return approvals.Ask(std::move(subject), limit,
                         [this](Approval answer) { told.push_back(answer); });
  }
  void Answer(uint64_t id, ApprovalAnswer answer, const std::string& words = "the webhook") {
    BrokerAnswer told_by_broker;
    told_by_broker.kind = BrokerAnswer::Kind::kApproval;
    told_by_broker.id = id;
    told_by_broker.approval = answer;
    told_by_broker.bytes.text = words;
    channels.OnAnswer(told_by_broker);
    Settle();
  }

  Approvals approvals{*loop};
  RecordingAudit audit;
  std::vector<uint64_t> asked;
  std::vector<uint64_t> forgotten;
  std::string document;
  std::vector<Approval> told;
  ApprovalChannels channels{*loop,
                            approvals,
                            audit,
                            {.ask =
                                 [this](uint64_t id, std::string text) {
                                   asked.push_back(id);
                                   document = std::move(text);
                                 },
                             .forget = [this](uint64_t id) { forgotten.push_back(id); }},
                            {.sandbox = "sp-1", .channels = 2, .timeout = 60s}};
};

TEST_CASE(
    "a question's document has what a person needs, and neither query nor control characters") {
  Desk desk;
  const Pending waits = desk.Ask(Charge());
  const json document = json::parse(desk.document);
  CHECK(document["id"] == "sp-1/" + std::to_string(desk.asked.at(0)));
  CHECK(document["rule"] == "payments");
  CHECK(document["place"] == "policy.lua:3");
  CHECK(document["path"] == "/v1/charges");
  CHECK(document["has_query"] == true);
  CHECK(document["secrets"] == json::array({"STRIPE_KEY"}));
  CHECK(document["body_bytes"] == 120);
  CHECK(document["timeout_ms"] == 60000);
  CHECK(desk.document.find("42") == std::string::npos);
  for (const char c : desk.document) CHECK((c >= ' ' && c <= '~'));
}

TEST_CASE("the largest document fits into a request to the broker") {
  Approvals::Question question;
  question.subject = Charge("/" + std::string(4095, '\x01'));
  question.subject.host = std::string(253, '\x01');
  question.subject.method = std::string(5000, '\x01');
  question.subject.rule = std::string(5000, '\x01');
  question.subject.place = question.subject.message = question.subject.rule;
  question.subject.body_start = std::string(4096, '\xff');
  question.subject.secrets.assign(1000, std::string(128, 'A'));
  CHECK(QuestionDocument(question, "sp-1", 60s).size() < BrokerRequest::kMaxBytes);
}

TEST_CASE("the broker's answer decides, with its record, and equal questions are asked once") {
  Desk desk;
  const Pending first = desk.Ask(Charge());
  const Pending second = desk.Ask(Charge());
  REQUIRE(desk.asked.size() == 1);
  desk.Answer(desk.asked[0], ApprovalAnswer::kOnce);
  CHECK(desk.told == std::vector<Approval>{Approval::kApproved, Approval::kApproved});
  CHECK(desk.forgotten == desk.asked);
  REQUIRE(desk.audit.records.size() == 1);
  CHECK(desk.audit.records[0].method == "approve once");
  CHECK(desk.audit.records[0].detail == "answered by the webhook");
  CHECK(desk.audit.records[0].path == "/v1/charges");
  desk.Answer(desk.asked[0], ApprovalAnswer::kDeny);  // Too late.
  CHECK(desk.audit.records.size() == 1);
}

TEST_CASE("an answer at the terminal calls the others off") {
  Desk desk;
  const Pending waits = desk.Ask(Charge());
  REQUIRE(desk.approvals.Reply(desk.asked.at(0), Approvals::Answer::kDeny));
  CHECK(desk.forgotten == desk.asked);
  desk.Answer(desk.asked[0], ApprovalAnswer::kSession);
  CHECK(desk.told == std::vector<Approval>{Approval::kDenied});
}

TEST_CASE("what is no answer leaves the question open; it is asked again only later") {
  Desk desk;
  Pending waits = desk.Ask(Charge());
  desk.Answer(desk.asked.at(0), ApprovalAnswer::kNone, "the webhook: refused");
  desk.Answer(desk.asked[0], ApprovalAnswer::kNone, "the command: status 7");
  CHECK(desk.told.empty());
  REQUIRE(desk.audit.records.size() == 2);
  CHECK_FALSE(desk.audit.records[1].allowed);
  CHECK(desk.audit.records[1].reason == Reason::kApprovalPending);
  CHECK(desk.audit.records[1].detail == "no answer of the command: status 7");
  const Pending soon = desk.Ask(Charge());
  CHECK(desk.asked.size() == 1);
  desk.clock.Advance(6s);
  const Pending later = desk.Ask(Charge());
  CHECK(desk.asked.size() == 2);
  CHECK(desk.asked[0] == desk.asked[1]);
}

TEST_CASE("a guest that asks much is asked for piece by piece") {
  Desk desk;
  std::vector<Pending> waits;
  for (int i = 0; i < 40; ++i) waits.push_back(desk.Ask(Charge("/" + std::to_string(i))));
  CHECK(desk.asked.size() == ApprovalChannels::kMaxUnderWay);
  desk.Answer(desk.asked[0], ApprovalAnswer::kDeny);
  CHECK(desk.asked.size() == ApprovalChannels::kMaxUnderWay + 1);
  desk.Answer(desk.asked[1], ApprovalAnswer::kNone);
  desk.Answer(desk.asked[1], ApprovalAnswer::kNone);
  CHECK(desk.asked.size() == ApprovalChannels::kMaxUnderWay + 2);
  REQUIRE(desk.approvals.Reply(desk.approvals.open().back().id, Approvals::Answer::kDeny));
  CHECK(desk.asked.size() == ApprovalChannels::kMaxUnderWay + 2);  // That one was only waiting.
}

// ---- Telemetry on its way to the broker.

TEST_CASE("lines go to the broker many at a time, and those that it has no room for are counted") {
  mitm::TestLoop loop;
  std::vector<BrokerRequest> sent;
  size_t unsent = 0;
  TelemetryFeed feed(*loop.loop,
                     {.send = [&](const BrokerRequest& request) { sent.push_back(request); },
                      .unsent = [&] { return unsent; }});
  feed.Take("one\n");
  feed.Take("two\n");
  CHECK(sent.empty());
  loop.Pass(200ms, [&] { return !sent.empty(); });
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].bytes == "one\ntwo\n");
  CHECK(sent[0].id == 0);
  unsent = TelemetryFeed::kMaxUnsent + 1;
  feed.Take("lost\n");
  feed.Take("lost\n");
  unsent = 0;
  feed.Take("three\n");
  feed.PassOn();
  REQUIRE(sent.size() == 2);
  CHECK(sent[1].bytes == "three\n");
  CHECK(sent[1].id == 2);
  feed.PassOn();
  CHECK(sent.size() == 2);
  for (int i = 0; i < 9; ++i) feed.Take(std::string(4000, 'x') + "\n");
  REQUIRE(sent.size() == 3);
  CHECK(sent[2].bytes.size() <= BrokerRequest::kMaxBytes);
}

}  // namespace
}  // namespace sallyport::runtime
