#include "runtime/warden/approvals.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/api/approvals.h"
#include "runtime/warden/approval_commands.h"
#include "tests/fakes/recording_audit.h"
#include "tests/mitm/test_loop.h"

namespace sallyport::runtime {
namespace {

using policy::Approval;
using Answer = Approvals::Answer;
using namespace std::chrono_literals;

Approvals::Subject Charge(const std::string& path = "/v1/charges") {
  return {.kind = "https",
          .host = "api.stripe.com",
          .port = 443,
          .method = "POST",
          .path = path,
          .rule = "policy.lua:3",
          .message = "call Stripe?",
          .body_bytes = 120};
}

struct Desk : mitm::TestLoop {
  Pending Ask(Approvals::Subject subject, std::chrono::milliseconds limit = 25s) {
    return approvals.Ask(std::move(subject), limit,
                         [this](Approval answer) { told.push_back(answer); });
  }
  uint64_t OnlyQuestion() {
    const auto open = approvals.open();
    REQUIRE(open.size() == 1);
    return open[0].id;
  }
  bool Reply(Answer answer) { return approvals.Reply(OnlyQuestion(), answer).has_value(); }
  using Told = std::vector<Approval>;

  Approvals approvals{*loop};
  Told told;
};

TEST_CASE("a question stays open until it is answered, and only then is anybody told") {
  Desk desk;
  const Pending waits = desk.Ask(Charge());
  desk.Settle();
  CHECK(desk.told.empty());
  const auto open = desk.approvals.open();
  REQUIRE(open.size() == 1);
  CHECK(open[0].waiting == 1);
  CHECK(open[0].subject.message == "call Stripe?");
  REQUIRE(desk.Reply(Answer::kOnce));
  CHECK(desk.told.empty());  // Never inside Reply().
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kApproved});
  CHECK(desk.approvals.open().empty());
}

TEST_CASE("equal questions are one, and other ones are not") {
  Desk desk;
  const Pending first = desk.Ask(Charge());
  const Pending second = desk.Ask(Charge());
  CHECK(desk.approvals.open().at(0).waiting == 2);
  const Pending other = desk.Ask(Charge("/v1/refunds"));
  const Pending query = desk.Ask(Charge("/v1/charges?amount=9"));
  auto elsewhere = Charge();
  elsewhere.host = "evil.example";
  const Pending third = desk.Ask(std::move(elsewhere));
  REQUIRE(desk.approvals.open().size() == 4);
  REQUIRE(desk.approvals.Reply(desk.approvals.open()[0].id, Answer::kDeny).has_value());
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kDenied, Approval::kDenied});
  CHECK(desk.approvals.open().size() == 3);
}

TEST_CASE("a yes is for those who wait; the next one is asked about again") {
  Desk desk;
  const Pending first = desk.Ask(Charge());
  REQUIRE(desk.Reply(Answer::kOnce));
  desk.Settle();
  const Pending second = desk.Ask(Charge());
  desk.Settle();
  CHECK(desk.told.size() == 1);
  CHECK(desk.approvals.open().size() == 1);
}

TEST_CASE("a yes for the session answers at once from then on") {
  Desk desk;
  const Pending first = desk.Ask(Charge());
  REQUIRE(desk.Reply(Answer::kSession));
  desk.Settle();
  const Pending second = desk.Ask(Charge());
  CHECK(desk.told.size() == 1);  // Never inside Ask().
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kApproved, Approval::kApproved});
  const Pending other = desk.Ask(Charge("/v1/refunds"));
  desk.Settle();
  CHECK(desk.told.size() == 2);
}

TEST_CASE("a no for the session answers at once from then on") {
  Desk desk;
  const Pending first = desk.Ask(Charge());
  REQUIRE(desk.Reply(Answer::kDenySession));
  desk.Settle();
  const Pending second = desk.Ask(Charge());
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kDenied, Approval::kDenied});
  CHECK(desk.approvals.open().empty());
}

TEST_CASE("a yes to a body that was shown is for that body only") {
  Desk desk;
  auto seen = Charge();
  seen.body_start = "amount=1";
  seen.body_bytes = 8;
  const Pending first = desk.Ask(seen);
  REQUIRE(desk.Reply(Answer::kSession));
  auto other = seen;
  other.body_start = "amount=9";
  const Pending second = desk.Ask(other);
  auto longer = seen;
  longer.body_bytes = 9;
  const Pending third = desk.Ask(longer);
  const Pending again = desk.Ask(seen);
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kApproved, Approval::kApproved});
  CHECK(desk.approvals.open().size() == 2);
}

TEST_CASE("an observer hears of each who asks, and of each answer") {
  struct Notes final : Approvals::Observer {
    void OnAsked(const Approvals::Question& question) override {
      text += "asked " + std::to_string(question.waiting) + ";";
    }
    void OnAnswered(uint64_t) override { text += "answered;"; }
    std::string text;
  } notes;
  Desk desk;
  desk.approvals.Observe(&notes);
  const Pending first = desk.Ask(Charge(), 5s);
  const Pending second = desk.Ask(Charge(), 5s);
  desk.Pass(5s, [&] { return desk.told.size() == 2; });
  const Pending third = desk.Ask(Charge(), 5s);
  REQUIRE(desk.Reply(Answer::kSession));
  const Pending fourth = desk.Ask(Charge(), 5s);
  desk.Settle();
  CHECK(notes.text == "asked 1;asked 2;asked 1;answered;");
}

TEST_CASE("without an answer in time the guest is told so, and a later one counts for the next try") {
  for (const auto& [answer, told] : {std::pair(Answer::kOnce, Approval::kApproved),
                                     std::pair(Answer::kDeny, Approval::kDenied)}) {
    Desk desk;
    const Pending first = desk.Ask(Charge());
    desk.Pass(25s, [&] { return !desk.told.empty(); });
    CHECK(desk.told == Desk::Told{Approval::kPending});
    REQUIRE(desk.Reply(answer));
    CHECK(desk.approvals.open().empty());
    const Pending retry = desk.Ask(Charge());
    desk.Settle();
    CHECK(desk.told == Desk::Told{Approval::kPending, told});
    const Pending third = desk.Ask(Charge());
    desk.Settle();
    CHECK(desk.told.size() == 2);
  }
}

TEST_CASE("a guest that gave up is not told") {
  Desk desk;
  {
    const Pending first = desk.Ask(Charge());
  }
  CHECK(desk.approvals.open().at(0).waiting == 0);
  {
    const Pending second = desk.Ask(Charge());
    REQUIRE(desk.Reply(Answer::kOnce));
  }
  desk.Settle();
  CHECK(desk.told.empty());
}

TEST_CASE("a guest can't fill the desk") {
  Desk desk;
  std::vector<Pending> waits;
  for (int i = 0; i < 300; ++i) waits.push_back(desk.Ask(Charge("/" + std::to_string(i))));
  desk.Settle();
  CHECK(desk.approvals.open().size() == 256);
  CHECK(desk.told.size() == 44);
  waits.clear();
  desk.told.clear();
  desk.clock.Advance(31min);
  desk.Settle();
  CHECK(desk.approvals.open().empty());
  const Pending again = desk.Ask(Charge());
  CHECK(desk.approvals.open().size() == 1);
  const Pending longest = desk.Ask(Charge("/" + std::string(5000, 'x')));
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kPending});
}

TEST_CASE("a question shows the names of secrets, and a body without what acts on terminals") {
  Desk desk;
  RecordingAudit audit;
  ApprovalCommands commands(*desk.loop, desk.approvals, audit);
  auto subject = Charge();
  subject.secrets = {"STRIPE_KEY", "OTHER"};
  subject.body_start = "a\\b\n\x1b[2J\xc3\xa4";
  const Pending waits = desk.Ask(subject);
  auto list = commands.Run({"approvals", {}});
  REQUIRE(list.rows.size() == 1);
  CHECK(list.rows[0].at(9) == "STRIPE_KEY,OTHER");
  CHECK(list.rows[0].at(10) == R"(a\\b\n\x1b[2J\xc3\xa4)");
  subject.path = "/long";
  subject.body_start = std::string(4096, '\x01');
  const Pending more = desk.Ask(subject);
  list = commands.Run({"approvals", {}});
  CHECK(list.rows.at(1).at(10).size() < 1100);
  CHECK(list.rows.at(1).at(10).ends_with("..."));
  CHECK(commands.Run({"approve", {list.rows[0][0], "deny-session"}}).done);
}

TEST_CASE("commands show the questions and take the answers, each with its record") {
  Desk desk;
  RecordingAudit audit;
  ApprovalCommands commands(*desk.loop, desk.approvals, audit);
  const Pending waits = desk.Ask(Charge("/v1/charges?amount=9"));
  desk.clock.Advance(3s);
  desk.Settle();
  const auto list = commands.Run({"approvals", {}});
  REQUIRE(list.rows.size() == 1);
  CHECK(list.rows[0] == std::vector<std::string>{std::to_string(desk.OnlyQuestion()), "https",
                                                 "api.stripe.com", "443", "POST",
                                                 "/v1/charges?amount=9", "120", "policy.lua:3",
                                                 "call Stripe?", "", "", "1", "3"});
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"99", "once"}, {"x", "once"}, {list.rows[0][0], "perhaps"}}) {
    CHECK_FALSE(commands.Run({"approve", wrong}).done);
  }
  CHECK(commands.Run({"approve", {list.rows[0][0], "session"}}).done);
  desk.Settle();
  CHECK(desk.told == Desk::Told{Approval::kApproved});
  REQUIRE(audit.records.size() == 1);
  CHECK(audit.records[0].method == "approve session");
  CHECK(audit.records[0].path == "/v1/charges");
  CHECK(audit.records[0].rule == "policy.lua:3");
}

// ---- What `--always` writes.

ApprovalQuestion Question() {
  ApprovalQuestion question;
  question.kind = "https";
  question.host = "api.stripe.com";
  question.port = "443";
  question.method = "POST";
  question.path = "/v1/charges?amount=9";
  question.rule = "policy.lua:2";
  return question;
}

TEST_CASE("a question becomes the rule that allows just that") {
  ApprovalQuestion question = Question();
  CHECK(*RuleFor(question) ==
        R"(allow.http { host = "api.stripe.com", port = 443, method = "POST", path = "/v1/charges" })");
  question.kind = "tcp";
  question.host = "10.0.0.7";
  question.port = "5432";
  CHECK(*RuleFor(question) == R"(allow.tcp { ip = "10.0.0.7", port = 5432 })");
  question.host = "[fd00::1]";
  CHECK(*RuleFor(question) == R"(allow.tcp { ip = "fd00::1", port = 5432 })");
  question = Question();
  question.path = "/a/*";
  CHECK_FALSE(RuleFor(question).has_value());
  question.path = "/a\nos.execute('x')";
  CHECK_FALSE(RuleFor(question).has_value());
  question.path = "/a\" }";
  CHECK(*RuleFor(question) ==
        R"(allow.http { host = "api.stripe.com", port = 443, method = "POST", path = "/a\" }" })");
}

TEST_CASE("what is shown of a question is plain text") {
  ApprovalQuestion question = Question();
  question.path = "/\x1b[2J\xc3\xa4";
  question.body_bytes = "120";
  CHECK(question.Describe() == "POST https://api.stripe.com/?[2J??, 120 bytes");
  question.secrets = "STRIPE_KEY";
  CHECK(question.Describe() == "POST https://api.stripe.com/?[2J??, 120 bytes, with STRIPE_KEY");
  question.secrets.clear();
  question.kind = "tcp";
  question.path.clear();
  question.body_bytes.clear();
  question.port = "5432";
  CHECK(question.Describe() == "tcp to api.stripe.com:5432");
}

TEST_CASE("a rule is written before the one that asks, or at the end of another file") {
  const auto folder = std::filesystem::temp_directory_path() / ("approvals-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = folder / "policy.lua";
  const auto text = [&] {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  CHECK(*AddRule(file, "first", "other.lua:7") == 1);
  CHECK(text() == "first\n");
  std::ofstream(file) << "-- one\nask.http {\n}";
  CHECK(*AddRule(file, "new", "policy.lua:2") == 2);
  CHECK(text() == "-- one\nnew\nask.http {\n}\n");
  CHECK(*AddRule(file, "last", "policy.lua:2(npm:3)") == 5);
  CHECK(text().ends_with("}\nlast\n"));
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  CHECK(*AddRule(file, "more", "policy.lua:99") == 6);
  CHECK(std::filesystem::status(file).permissions() == std::filesystem::perms::owner_read);
  // A link stays one, and what a killed command left beside the file is in nobody's way.
  const std::string link = folder / "link.lua";
  std::filesystem::create_symlink("policy.lua", link);
  std::ofstream(file + ".new") << "left";
  CHECK(AddRule(link, "by link", "policy.lua:99"));
  CHECK(std::filesystem::is_symlink(link));
  CHECK(text().ends_with("by link\n"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sallyport::runtime
