#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "runtime/api/policy_format.h"
#include "runtime/api/policy_learn.h"
#include "runtime/api/policy_reload.h"
#include "runtime/api/policy_tests.h"
#include "runtime/api/policy_tools.h"
#include "runtime/api/written_files.h"
#include "runtime/cli/commands.h"

namespace sallyport::cli {

namespace {

constexpr int kDenied = 1;
constexpr int kMistake = 2;

int Complain(const Error& error, int code) {
  std::fprintf(stderr, "sandboxctl: %s\n", error.message().c_str());
  return code;
}

int Check(const std::string& file) {
  const auto report = CheckPolicy(file);
  if (!report) return Complain(report.error(), 1);
  for (const auto& message : report->messages) std::printf("%s\n", message.c_str());
  if (report->valid) std::printf("%s: the policy is valid\n", file.c_str());
  return report->valid ? 0 : 1;
}

int Explain(const std::string& file, const std::vector<std::string>& words) {
  const auto answer = ExplainPolicy(file, words);
  if (!answer) return Complain(answer.error(), kMistake);
  std::fputs(answer->text.c_str(), stdout);
  return answer->allowed ? 0 : kDenied;
}

/// Shows the TEXT of what is called NAME; without a name, lists NAMES.
int Show(const std::string& name, std::vector<std::string> (*names)(),
         Result<std::string> (*text_of)(const std::string&)) {
  if (name.empty()) {
    for (const auto& known : names()) std::printf("%s\n", known.c_str());
    return 0;
  }
  const auto text = text_of(name);
  if (!text) return Complain(text.error(), kMistake);
  std::fputs(text->c_str(), stdout);
  return 0;
}

int Report(const PolicyTestReport& report) {
  std::fputs(report.text.c_str(), stdout);
  if (!report.mistakes.empty()) {
    return Complain({Code::kInvalid, report.mistakes}, kMistake);
  }
  return report.failed == 0 ? 0 : kDenied;
}

int Test(const PolicyTestPlan& plan) {
  if (plan.files.empty() && !plan.audit) {
    return Complain({Code::kInvalid, "name a test file, or an --audit log with a --policy"},
                    kMistake);
  }
  return Report(TestPolicy(plan));
}

int Reload(const std::string& sandbox, const std::optional<std::string>& file) {
  const auto report = ReloadPolicy(sandbox, file);
  if (!report) return Complain(report.error(), 1);
  for (const auto& warning : report->warnings) std::fprintf(stderr, "%s\n", warning.c_str());
  std::printf("%s\n", report->text.c_str());
  return 0;
}

int Format(const std::vector<std::string>& files, FormatMode mode) {
  size_t changed = 0;
  int code = 0;
  for (const auto& file : files) {
    const auto formatted = FormatPolicy(file, mode);
    if (!formatted) {
      code = Complain(formatted.error(), kMistake);
    } else if (*formatted) {
      ++changed;
      std::printf("%s\n", file.c_str());
    }
  }
  return code == 0 && changed > 0 && mode == FormatMode::kCheck ? 1 : code;
}

struct LearnOptions {
  LearnPlan plan;
  std::string output;
  bool only_learnt = false;
};

int Learn(LearnOptions options) {
  if (options.only_learnt) options.plan.take = LearnPlan::Take::kLearnt;
  std::optional<ReplacedFile> file;
  if (!options.output.empty()) {
    const auto status = CheckWrittenFile("the policy", options.output);
    if (!status) return Complain(status.error(), kMistake);
    auto opened = OpenLearntFile(options.output);
    if (!opened) return Complain(opened.error(), kMistake);
    file = *std::move(opened);
  }
  const auto learnt = LearnPolicy(options.plan);
  if (!learnt) return Complain(learnt.error(), kMistake);
  for (const auto& note : learnt->notes) std::fprintf(stderr, "sandboxctl: %s\n", note.c_str());
  if (!file) {
    std::fputs(learnt->text.c_str(), stdout);
    return 0;
  }
  if (auto written = file->Write(learnt->text); !written) return Complain(written.error(), 1);
  std::printf("%s: rules for %zu decisions\n", file->path().c_str(), learnt->decisions);
  return 0;
}

void AddCheck(CLI::App& policy, Run& run) {
  auto* check =
      policy.add_subcommand("check", "Reports every mistake in a policy file; reads no secret");
  check->footer(
      "Exits with 0 when the policy is valid, else 1.\n\nExample:\n  sandboxctl policy check "
      "policy.lua");
  auto file = std::make_shared<std::string>();
  check->add_option("FILE", *file, "The policy")->required();
  check->callback([&run, file] { run = [file] { return Check(*file); }; });
}

void AddExplain(CLI::App& policy, Run& run) {
  auto* explain = policy.add_subcommand("explain",
                                        "Says what a policy decides of a name, a flow or a "
                                        "request, by which rule, and what would change it");
  explain->footer(
      "Resolves nothing, starts nothing and reads no secret. Exits with 0 when it would be "
      "allowed, 1 when denied,\n"
      "2 when the file or the question has a mistake.\n\nExamples:\n"
      "  sandboxctl policy explain policy.lua http GET https://api.example.com/user\n"
      "  sandboxctl policy explain policy.lua tcp db.example.com:5432\n"
      "  sandboxctl policy explain policy.lua dns api.example.com");
  auto file = std::make_shared<std::string>();
  auto words = std::make_shared<std::vector<std::string>>();
  explain->add_option("FILE", *file, "The policy")->required();
  explain
      ->add_option("QUESTION", *words, "dns NAME [TYPE], tcp HOST:PORT, udp HOST:PORT, icmp HOST, http METHOD URL, or a URL to GET")
      ->required();
  explain->callback(
      [&run, file, words] { run = [file, words] { return Explain(*file, *words); }; });
}

void AddTest(CLI::App& policy, Run& run) {
  auto* test = policy.add_subcommand(
      "test", "Runs tests of policies, files of Lua; or holds a policy to a recorded audit log");
  test->footer(
      "Starts nothing, resolves nothing and reads no secret. Exits with 0 when all is as expected, "
      "1 when not,\n2 when a file has a mistake. A test file:\n\n"
      "  policy \"policy.lua\"\n"
      "  test(\"reads only\", function()\n"
      "    expect(http \"GET https://api.github.com/user\"):allowed()\n"
      "    expect(http \"DELETE https://api.github.com/user\"):denied \"this agent only reads\"\n"
      "    expect(dns \"example.com\"):refused()\n"
      "  end)\n\nExamples:\n  sandboxctl policy test policy_test.lua\n"
      "  sandboxctl policy test --policy new.lua --audit audit.jsonl");
  auto plan = std::make_shared<PolicyTestPlan>();
  test->add_option("FILE", plan->files, "Test files");
  test->add_option("--policy", plan->policy, "The policy to test, whatever the files say");
  test->add_option("--audit", plan->audit,
                   "An audit log: each decision in it must be the same again");
  test->callback([&run, plan] { run = [plan] { return Test(*plan); }; });
}

void AddDiff(CLI::App& policy, Run& run) {
  auto* diff = policy.add_subcommand(
      "diff", "Says what of a recorded audit log two policies decide differently");
  diff->footer(
      "Exits with 0 when nothing, 1 when something, 2 when a file has a mistake.\n\n"
      "Example:\n  sandboxctl policy diff policy.lua new.lua --over audit.jsonl");
  struct Files {
    std::string before;
    std::string after;
    std::string audit;
  };
  auto files = std::make_shared<Files>();
  diff->add_option("OLD", files->before, "A policy")->required();
  diff->add_option("NEW", files->after, "Another")->required();
  diff->add_option("--over", files->audit, "The audit log")->required();
  diff->callback([&run, files] {
    run = [files] { return Report(DiffPolicies(files->before, files->after, files->audit)); };
  });
}

void AddFormat(CLI::App& policy, Run& run) {
  auto* format = policy.add_subcommand("fmt", "Writes policy files in the one form that all have");
  format->footer(
      "Names the files that were changed. A file means the same afterwards, or is left alone. Exits "
      "with 1 with\n--check when a file is not in that form, 2 when one is no Lua.\n\nExamples:\n"
      "  sandboxctl policy fmt policy.lua\n"
      "  sandboxctl policy fmt --check *.lua");
  auto files = std::make_shared<std::vector<std::string>>();
  auto check = std::make_shared<bool>(false);
  format->add_option("FILE", *files, "Policy files, or tests of policies")->required();
  format->add_flag("--check", *check, "Changes nothing, and names the files that would be");
  format->callback([&run, files, check] {
    run = [files, check] {
      return Format(*files, *check ? FormatMode::kCheck : FormatMode::kWrite);
    };
  });
}

void AddLearn(CLI::App& policy, Run& run) {
  auto* learn = policy.add_subcommand(
      "learn", "Makes the smallest readable rules that allow what audit logs say was done");
  learn->footer(
      "Numbers, hashes and the like in paths become '*', many paths below one '**'; a host that was "
      "seen once is\nmarked '-- rare', a wildcard '-- wide'. Names that were refused or had no answer "
      "get no rule, secrets are\nnever declared, and addresses that are not public stay closed. The "
      "rules are held to the log before they\nare shown. Exits with 2 when a file has a mistake. See "
      "also `run --learn`.\n\nExamples:\n"
      "  sandboxctl policy learn audit.jsonl -o learnt.lua\n"
      "  sandboxctl policy learn audit.jsonl --over policy.lua --sandbox sp-h2k");
  auto options = std::make_shared<LearnOptions>();
  learn->add_option("AUDIT", options->plan.audits, "Audit logs")->required();
  learn->add_option("--over", options->plan.over,
                    "A policy: what it allows already is not written again");
  learn->add_option("--sandbox", options->plan.sandbox, "Only this one: its id, or the beginning");
  learn->add_flag("--only-learnt", options->only_learnt, "Only what a `run --learn` let through");
  learn->add_option("-o,--output", options->output, "The file to write; by default the output");
  learn->callback([&run, options] { run = [options] { return Learn(*options); }; });
}

void AddReload(CLI::App& policy, Run& run) {
  auto* reload = policy.add_subcommand(
      "reload", "Gives a running sandbox its policy anew; one with a mistake changes nothing");
  reload->footer(
      "Connections that the policy denies now are cut, secrets that it does not declare any more "
      "are revoked.\nExits with 1 when nothing was changed.\n\n"
      "Examples:\n  sandboxctl policy reload sp-h2k\n"
      "  sandboxctl policy reload sp-h2k narrower.lua");
  auto sandbox = std::make_shared<std::string>();
  auto file = std::make_shared<std::optional<std::string>>();
  reload->add_option("SANDBOX", *sandbox, "Its id, or the beginning of it")->required();
  reload->add_option("FILE", *file, "The policy; by default the file that it runs on");
  reload->callback(
      [&run, sandbox, file] { run = [sandbox, file] { return Reload(*sandbox, *file); }; });
}

void AddPreset(CLI::App& policy, Run& run) {
  auto* preset = policy.add_subcommand(
      "preset", "Shows what `use \"NAME\"` stands for; without a name, lists the presets");
  preset->footer("Example:\n  sandboxctl policy preset npm");
  auto name = std::make_shared<std::string>();
  preset->add_option("NAME", *name, "The preset");
  preset->callback([&run, name] { run = [name] { return Show(*name, PresetNames, PresetText); }; });
}

void AddProfile(CLI::App& policy, Run& run) {
  auto* profile = policy.add_subcommand(
      "profile", "Shows the policy that `run --profile NAME` uses; without a name, lists them");
  profile->footer("Example:\n  sandboxctl policy profile moderate > policy.lua");
  auto name = std::make_shared<std::string>();
  profile->add_option("NAME", *name, "The profile");
  profile->callback(
      [&run, name] { run = [name] { return Show(*name, ProfileNames, ProfileText); }; });
}

}  // namespace

void AddPolicy(CLI::App& app, Run& run) {
  auto* policy = app.add_subcommand("policy", "Works with policy files");
  policy->require_subcommand(1);
  policy->footer("Example:\n  sandboxctl policy check policy.lua");
  AddCheck(*policy, run);
  AddExplain(*policy, run);
  AddTest(*policy, run);
  AddDiff(*policy, run);
  AddLearn(*policy, run);
  AddFormat(*policy, run);
  AddReload(*policy, run);
  AddPreset(*policy, run);
  AddProfile(*policy, run);
}

}  // namespace sallyport::cli
