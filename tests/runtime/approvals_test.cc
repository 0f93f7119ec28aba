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

/// A policy file, and what becomes of it when QUESTION is always allowed.
struct PolicyFile {
  PolicyFile() { std::filesystem::create_directory(folder); }
  ~PolicyFile() { std::filesystem::remove_all(folder); }
  Result<size_t> Add(const ApprovalQuestion& question) {
    return AddRule(path, *RuleFor(question), question);
  }
  void Write(const std::string& text) const { std::ofstream(path) << text; }
  std::string text() const {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("approvals-" + std::to_string(getpid()));
  std::string path = folder / "policy.lua";
};

TEST_CASE("a rule is written before what asks, wherever that stands now, or at the end") {
  PolicyFile file;
  const ApprovalQuestion question = Question();
  const std::string rule = *RuleFor(question) + "\n";
  CHECK(*file.Add(question) == 1);
  CHECK(file.text() == rule);
  const std::string ask = "ask.http { host = \"api.stripe.com\" }\n";
  file.Write("-- one\n" + ask);
  CHECK(*file.Add(question) == 2);
  CHECK(file.text() == "-- one\n" + rule + ask);
  // The file has grown since the sandbox read it: line 2 is the middle of another rule.
  const std::string other = "allow.http {\n  host = \"other.example\",\n}\n";
  file.Write(other + ask);
  CHECK(*file.Add(question) == 4);
  CHECK(file.text() == other + rule + ask);
  // A rule with a name of its own, and a file that is called differently.
  ApprovalQuestion named = question;
  named.rule = "pay";
  file.path = file.folder / "kept.lua";
  const std::string called = "ask.http { host = \"api.stripe.com\", name = \"pay\" }";
  file.Write(called);
  CHECK(*file.Add(named) == 1);
  CHECK(file.text() == rule + called + "\n");
  // What asks for a header is known by its line alone.
  file.path = file.folder / "policy.lua";
  const std::string header = "ask.http { host = \"api.stripe.com\", header = { x = any } }\n";
  file.Write("-- one\n" + header);
  CHECK(*file.Add(question) == 2);
  CHECK(file.text() == "-- one\n" + rule + header);
}

TEST_CASE("a rule that a policy can't have, or that changes nothing, is not written") {
  PolicyFile file;
  for (const char* text : {"allow.http {", "deny.http { host = \"api.stripe.com\" }\n",
                           "allow.http { host = \"api.stripe.com\" }\n"
                           "on.request(function(req) req:ask \"may it?\" end)\n",
                           "local rules = {\n  ask.http { host = \"api.stripe.com\" },\n}\n"}) {
    INFO(text);
    file.Write(text);
    const auto added = file.Add(Question());
    REQUIRE_FALSE(added);
    CHECK(added.error().code() == Code::kInvalid);
    CHECK(file.text() == text);
  }
}

TEST_CASE("a policy that a rule is written into keeps its mode and its links") {
  PolicyFile file;
  file.Write("");
  std::filesystem::permissions(file.path, std::filesystem::perms::owner_read);
  CHECK(file.Add(Question()));
  CHECK(std::filesystem::status(file.path).permissions() == std::filesystem::perms::owner_read);
  // What a killed command left beside the file is in nobody's way.
  const std::string policy = file.path;
  file.path = file.folder / "link.lua";
  std::filesystem::create_symlink("policy.lua", file.path);
  std::ofstream(policy + ".new") << "left";
  ApprovalQuestion other = Question();
  other.path = "/other";
  CHECK(*file.Add(other) == 2);
  CHECK(std::filesystem::is_symlink(file.path));
  CHECK(file.text() == *RuleFor(Question()) + "\n" + *RuleFor(other) + "\n");
}

}  // namespace
}  // namespace sallyport::runtime
