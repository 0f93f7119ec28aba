#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "runtime/api/approvals.h"
#include "runtime/api/written_files.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/table.h"

// The questions that `ask` in a policy puts to the user: shown, watched, answered.

namespace sallyport::cli {
namespace {

constexpr int kPollMilliseconds = 500;

int Complain(const Error& error) {
  std::fprintf(stderr, "sandboxctl: %s\n", error.message().c_str());
  return 1;
}

std::string Printable(std::string shown) {
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return shown;
}

int Show(const std::string& sandbox) {
  const auto questions = OpenQuestions(sandbox);
  if (!questions) return Complain(questions.error());
  std::vector<std::vector<std::string>> rows{{"SANDBOX", "ID", "WAITING", "AGE", "RULE", "WHAT"}};
  for (const ApprovalQuestion& question : *questions) {
    rows.push_back({question.sandbox, question.id, question.waiting, question.age + "s",
                    question.rule, question.Describe()});
  }
  PrintTable(rows);
  return 0;
}

struct Reply {
  std::string sandbox;
  std::string id;
  bool session = false;
  std::string always;  // The file that the rule goes into.
};

int ComplainOfRule(const std::string& file, const Error& error) {
  std::fprintf(
      stderr,
      "sandboxctl: it is allowed while the sandbox lives, but no rule was written into %s: %s\n",
      file.c_str(), error.message().c_str());
  return 1;
}

int Always(const ApprovalQuestion& question, const std::string& file) {
  const auto rule = RuleFor(question);
  if (!rule) return ComplainOfRule(file, rule.error());
  const auto line = AddRule(file, *rule, question);
  if (!line) return ComplainOfRule(file, line.error());
  std::printf("%s:%zu: %s\n", file.c_str(), *line, rule->c_str());
  return 0;
}

int Answer(const Reply& reply, ApprovalAnswer answer) {
  // Before the answer: it can't be taken back.
  if (!reply.always.empty()) {
    const auto status = CheckWrittenFile("the policy", reply.always);
    if (!status) return Complain(status.error());
  }
  const auto question = AnswerQuestion(reply.sandbox, reply.id, answer);
  if (!question) return Complain(question.error());
  const bool yes = answer == ApprovalAnswer::kOnce || answer == ApprovalAnswer::kSession;
  std::printf("%s: %s\n", yes ? "allowed" : "denied",
              question->Describe().c_str());
  return reply.always.empty() ? 0 : Always(*question, reply.always);
}

int Approve(const Reply& reply) {
  // What is always allowed is so now, too.
  const bool session = reply.session || !reply.always.empty();
  return Answer(reply, session ? ApprovalAnswer::kSession : ApprovalAnswer::kOnce);
}

void PrintQuestion(const ApprovalQuestion& question) {
  const std::string message = Printable(question.message);
  std::printf("%s %s: %s%s%s (%s)\n", question.sandbox.c_str(), question.id.c_str(),
              question.Describe().c_str(), message.empty() ? "" : ": ", message.c_str(),
              question.rule.c_str());
  if (!question.body_start.empty()) {
    std::printf("  body: %s\n", Printable(question.body_start).c_str());
  }
  std::fflush(stdout);
}

/// Asks at the terminal; false at its end.
bool AskHere(const ApprovalQuestion& question) {
  std::printf("  [o]nce, for this [s]ession, [d]eny, [l]ater? ");
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  const Reply reply{.sandbox = question.sandbox, .id = question.id, .session = false, .always = {}};
  switch (line.empty() ? 'l' : line.front()) {
    case 'o':
      Answer(reply, ApprovalAnswer::kOnce);
      break;
    case 's':
      Answer(reply, ApprovalAnswer::kSession);
      break;
    case 'd':
      Answer(reply, ApprovalAnswer::kDeny);
      break;
    default:
      break;
  }
  return true;
}

/// Until it is interrupted, or the terminal ends.
int Watch(const std::string& sandbox) {
  const bool terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  std::set<std::pair<std::string, std::string>> seen;
  for (;;) {
    const auto questions = OpenQuestions(sandbox);
    if (!questions) return Complain(questions.error());
    for (const ApprovalQuestion& question : *questions) {
      if (!seen.emplace(question.sandbox, question.id).second) continue;
      // Keys that were pressed before a question is seen are no answer to it.
      if (terminal) tcflush(STDIN_FILENO, TCIFLUSH);
      PrintQuestion(question);
      if (std::ferror(stdout) != 0) return 0;  // Nobody reads any more.
      if (terminal && !AskHere(question)) return 0;
    }
    poll(nullptr, 0, kPollMilliseconds);
  }
}

void AddShow(CLI::App& app, Run& run) {
  auto* show = app.add_subcommand("approvals", "Shows what your sandboxes ask you to allow");
  show->footer(
      "A webhook or a command can answer as well: sandbox { approvals = … }, run --approve-command.\n"
      "On a terminal --watch also takes the answers; elsewhere it prints a line for each question.\n\n"
      "Example:\n  sandboxctl approvals --watch");
  auto sandbox = std::make_shared<std::string>();
  auto watch = std::make_shared<bool>(false);
  show->add_option("SANDBOX", *sandbox, "Only this one's: its id, or the beginning of it");
  show->add_flag("--watch", *watch, "Stay, and show each question when it comes");
  show->callback([&run, sandbox, watch] {
    run = [sandbox, watch] { return *watch ? Watch(*sandbox) : Show(*sandbox); };
  });
}

std::shared_ptr<Reply> AddReply(CLI::App& command) {
  auto reply = std::make_shared<Reply>();
  command.add_option("SANDBOX", reply->sandbox, "Its id, or the beginning of it")->required();
  command.add_option("ID", reply->id, "The question's, as `sandboxctl approvals` shows it")->required();
  return reply;
}

void AddApprove(CLI::App& app, Run& run) {
  auto* approve = app.add_subcommand("approve", "Allows what a sandbox asks for");
  approve->footer(
      "It counts for what waits now; or, if nothing waits any more, for the next try.\n\n"
      "Example:\n  sandboxctl approve sp-h2k 3 --always policy.lua");
  auto reply = AddReply(*approve);
  auto* session =
      approve->add_flag("--session", reply->session, "The same again, too, while the sandbox lives");
  approve
      ->add_option("--always", reply->always,
                   "As --session, and write a rule for it into this policy file")
      ->excludes(session);
  approve->callback([&run, reply] { run = [reply] { return Approve(*reply); }; });
}

void AddDeny(CLI::App& app, Run& run) {
  auto* deny = app.add_subcommand("deny", "Refuses what a sandbox asks for");
  deny->footer("Example:\n  sandboxctl deny sp-h2k 3");
  auto reply = AddReply(*deny);
  deny->add_flag("--session", reply->session, "The same again, too, while the sandbox lives");
  deny->callback([&run, reply] {
    run = [reply] {
      return Answer(*reply,
                    reply->session ? ApprovalAnswer::kDenySession : ApprovalAnswer::kDeny);
    };
  });
}

}  // namespace

void AddApprovals(CLI::App& app, Run& run) {
  AddShow(app, run);
  AddApprove(app, run);
  AddDeny(app, run);
}

}  // namespace sallyport::cli
