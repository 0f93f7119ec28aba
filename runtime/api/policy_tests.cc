#include "runtime/api/policy_tests.h"

#include "policy/test_file.h"
#include "runtime/api/audit_replay.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_file.h"

namespace sallyport {
namespace {

constexpr size_t kMaxAudit = size_t{256} << 20;  // Four of the log's files.

std::string Count(size_t count, const char* thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

void AddRule(const std::string& rule, const std::string& rule_line, std::string& text) {
  if (rule.empty()) return;
  text += "    by " + rule + "\n";
  if (!rule_line.empty()) text += "      | " + rule_line + "\n";
}

void AddOutcome(const std::string& file, const policy::TestOutcome& outcome, std::string& text) {
  text += (outcome.passed() ? "ok    " : "FAIL  ") + outcome.name + "\n";
  for (const auto& failure : outcome.failures) {
    text += "  " + file + ":" + std::to_string(failure.line) + ": expected " + failure.expected +
            "\n    but " + failure.got + "\n";
    AddRule(failure.rule, failure.rule_line, text);
  }
}

class Tester {
 public:
  explicit Tester(const PolicyTestPlan& plan) : plan_(plan) {}

  PolicyTestReport Run() && {
    if (plan_.policy && !ReadOverride()) return std::move(report_);
    for (const auto& file : plan_.files) RunFile(file);
    if (plan_.audit) Replay();
    if (!plan_.files.empty())
      Add(Count(tests_, "test") + ", " + std::to_string(failed_tests_) + " failed");
    return std::move(report_);
  }

 private:
  void Add(const std::string& line) { report_.text += line + "\n"; }
  void Mistake(const std::string& what) {
    report_.mistakes += (report_.mistakes.empty() ? "" : "\n") + what;
  }

  bool ReadOverride() {
    auto source = ReadGivenPolicy(*plan_.policy);
    if (!source) {
      Mistake(source.error().message());
      return false;
    }
    override_ = *std::move(source);
    return true;
  }

  void RunFile(const std::string& file) {
    const auto source = ReadPolicySource(file);
    if (!source) return Mistake(source.error().message());
    const auto run = policy::RunTestFile(*source, override_, &ReadPolicySource);
    for (const auto& mistake : run.mistakes) Mistake(mistake);
    for (const auto& outcome : run.tests) {
      AddOutcome(file, outcome, report_.text);
      ++tests_;
      if (outcome.passed()) continue;
      ++failed_tests_;
      ++report_.failed;
    }
  }

  void Replay() {
    if (!override_) return Mistake("--audit needs a --policy to decide by");
    const auto log = ReadFile(*plan_.audit, kMaxAudit, FileKind::kAny);
    if (!log) return Mistake(log.error().message());
    const auto engine = LoadForQuestions(*override_);
    if (!engine) return Mistake(engine.error().message());
    const Recording recording = ReadRecording(*log);
    size_t different = 0;
    for (const Recorded& recorded : recording.decisions) {
      const auto answer = policy::Decide(**engine, recorded.question);
      // What the user, or a callback that waits, would say is not known.
      if (answer.allowed == recorded.allowed || answer.waits) continue;
      ++different;
      Add("FAIL  " + recorded.words + "\n  was " + (recorded.allowed ? "allowed" : "denied") +
          (recorded.rule.empty() ? "" : " by " + recorded.rule) + ", is " +
          (answer.allowed ? "allowed" : "denied (" + answer.reason + ")"));
      AddRule(answer.rule, policy::SourceLine(*override_, answer.rule), report_.text);
    }
    if (recording.unread > 0) {
      Mistake(*plan_.audit + ": " + Count(recording.unread, "line") + " can't be read");
    }
    Add(Count(recording.decisions.size(), "recorded decision") + ", " + std::to_string(different) +
        " different");
    report_.failed += different;
  }

  const PolicyTestPlan& plan_;
  std::optional<policy::Engine::Source> override_;
  PolicyTestReport report_;
  size_t tests_ = 0;
  size_t failed_tests_ = 0;
};

std::string Verdict(const policy::Answer& answer) {
  const std::string verdict = answer.allowed ? "allowed" : answer.waits ? "asked" : "denied";
  return verdict + (answer.allowed || answer.waits ? "" : " (" + answer.reason + ")") +
         (answer.rule.empty() ? "" : " by " + answer.rule);
}

/// How much is granted.
int Rank(const policy::Answer& answer) {
  return answer.allowed ? 2 : answer.waits ? 1 : 0;
}

Result<std::unique_ptr<policy::Engine>> LoadFile(const std::string& file) {
  const auto source = ReadGivenPolicy(file);
  if (!source) return tl::unexpected(source.error());
  auto engine = LoadForQuestions(*source);
  if (!engine) return tl::unexpected(std::move(engine).error().In(file));
  return engine;
}

}  // namespace

PolicyTestReport TestPolicy(const PolicyTestPlan& plan) {
  return Tester(plan).Run();
}

PolicyTestReport DiffPolicies(const std::string& old_policy, const std::string& new_policy,
                              const std::string& audit) {
  PolicyTestReport report;
  const auto before = LoadFile(old_policy);
  const auto after = LoadFile(new_policy);
  const auto log = ReadFile(audit, kMaxAudit, FileKind::kAny);
  if (!before) report.mistakes = before.error().message();
  if (!after) report.mistakes = after.error().message();
  if (!log) report.mistakes = log.error().message();
  if (!report.mistakes.empty()) return report;
  std::set<std::string> seen;
  for (const Recorded& recorded : ReadRecording(*log).decisions) {
    if (!seen.insert(recorded.words).second) continue;
    const auto was = policy::Decide(**before, recorded.question);
    const auto is = policy::Decide(**after, recorded.question);
    if (was.allowed == is.allowed && was.waits == is.waits) continue;
    ++report.failed;
    report.text += std::string(Rank(is) > Rank(was) ? "+ " : "- ") + recorded.words + "\n    was " +
                   Verdict(was) + "\n    is  " + Verdict(is) + "\n";
  }
  report.text +=
      Count(seen.size(), "decision") + ", " + std::to_string(report.failed) + " different\n";
  return report;
}

}  // namespace sallyport
