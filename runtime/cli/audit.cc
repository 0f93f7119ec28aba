#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/api/audit_reader.h"
#include "runtime/cli/commands.h"

namespace sallyport::cli {
namespace {

// How late --follow shows a line.
constexpr std::chrono::milliseconds kFollow{200};

struct AuditOptions {
  std::string file;
  std::string sandbox;
  std::vector<std::string> filters;
  bool follow = false;
  bool json = false;
};

int Complain(const Error& error) {
  std::fprintf(stderr, "sandboxctl: %s\n", error.message().c_str());
  return 1;
}

Result<std::string> FileOf(const std::string& file) {
  if (!file.empty()) return file;
  return DefaultAuditFile();
}

int Show(const AuditOptions& options) {
  const auto file = FileOf(options.file);
  if (!file) return Complain(file.error());
  AuditFilter filter;
  filter.sandbox = options.sandbox;
  for (const auto& text : options.filters) {
    if (const auto added = filter.Add(text, std::chrono::system_clock::now()); !added) return Complain(added.error());
  }
  AuditReader reader(*file);
  do {
    const auto read = reader.Read([&](std::string_view text, const AuditLine& line) {
      if (!filter.Matches(line)) return;
      const std::string shown = options.json ? std::string(text) : line.ToText();
      std::printf("%s\n", shown.c_str());
    });
    if (!read) return Complain(read.error());
    // Who reads it has gone, as `head` does.
    if (std::fflush(stdout) != 0) return errno == EPIPE ? 0 : 1;
    if (options.follow) std::this_thread::sleep_for(kFollow);
  } while (options.follow);
  if (reader.unread() > 0) {
    std::fprintf(stderr, "sandboxctl: %zu lines can't be read\n", reader.unread());
  }
  return 0;
}

int Why(const std::string& flow, const std::string& audit, const std::string& policy) {
  const auto file = FileOf(audit);
  if (!file) return Complain(file.error());
  const auto text = ExplainFlow(*file, flow, policy.empty() ? std::nullopt : std::optional(policy));
  if (!text) return Complain(text.error());
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace

void AddAudit(CLI::App& app, Run& run) {
  auto* audit = app.add_subcommand("audit", "Shows the audit log: what was allowed and refused");
  audit->footer(
      "Examples:\n  sandboxctl audit --filter verdict=deny --follow\n"
      "  sandboxctl audit --sandbox sp-h2k --filter transport=https --json\n"
      "  sandboxctl audit --filter 'host=*.example.com' --filter secret=API_TOKEN --filter since=1h");
  auto options = std::make_shared<AuditOptions>();
  audit->add_option("--audit", options->file, "The log's file; by default the one of `run`");
  audit->add_option("--sandbox", options->sandbox,
                    "Only of this sandbox: its id, or the beginning");
  audit
      ->add_option("--filter", options->filters,
                   "key=value: only lines with it; any of several with one key. Beside the log's keys "
                   "host=NAME, secret=NAME, since=10m, until=2026-05-01")
      ->allow_extra_args(false);
  audit->add_flag("--follow", options->follow, "Goes on with what comes");
  audit->add_flag("--json", options->json, "The lines as they stand in the log");
  audit->callback([&run, options] { run = [options] { return Show(*options); }; });
}

void AddWhy(CLI::App& app, Run& run) {
  auto* why =
      app.add_subcommand("why", "Says again why a flow was refused, and what would allow it");
  why->footer(
      "FLOW stands in the refusal that the guest read, and in the audit log.\n\n"
      "Examples:\n  sandboxctl why sp-h2k/7\n  sandboxctl why 7 --policy policy.lua");
  struct Options {
    std::string flow;
    std::string audit;
    std::string policy;
  };
  auto options = std::make_shared<Options>();
  why->add_option("FLOW", options->flow, "SANDBOX/NUMBER, or NUMBER for the latest sandbox")
      ->required();
  why->add_option("--audit", options->audit, "The log's file; by default the one of `run`");
  why->add_option("--policy", options->policy,
                  "Where the rule's line is looked up; by default in the running sandbox's file");
  why->callback([&run, options] {
    run = [options] { return Why(options->flow, options->audit, options->policy); };
  });
}

}  // namespace sallyport::cli
