#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>

#include "runtime/cli/commands.h"
#include "sallyport_versions.h"

namespace {

std::string VersionText() {
  using namespace sallyport::versions;
  return std::string("sandboxctl ") + kSallyport + "\nlwIP " + kLwip + "\nBoringSSL " + kBoringSsl +
         "\nllhttp " + kLlhttp + "\nLua " + kLua + "\nc-ares " + kCares + "\n";
}

/// The commands but `run`, in the order in which they are listed.
void AddOthers(CLI::App& app, sallyport::cli::Run& run) {
  using namespace sallyport::cli;
  for (const auto add : {AddDoctor, AddPolicy, AddLs, AddSecret, AddApprovals, AddPort, AddFlows,
                         AddStats, AddAudit, AddWhy}) {
    add(app, run);
  }
}

/// The word of ARGV that stands where a command must, and is none; null where all are.
const char* UnknownCommand(CLI::App& app, int argc, char** argv) {
  CLI::App* at = &app;
  for (int i = 1; i < argc && at->get_require_subcommand_min() > 0; ++i) {
    if (argv[i][0] == '-') return nullptr;
    const auto named = at->get_subcommands([&](CLI::App* one) { return one->check_name(argv[i]); });
    if (named.empty()) return argv[i];
    at = named.front();
  }
  return nullptr;
}

constexpr int kUsageError = 125;  // What fails before the program runs is the sandbox's failure.

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // Before anything else, even before the options are known to be right: it works meanwhile.
  std::optional<sallyport::Result<sallyport::WaitingWarden>> warden;
  const bool runs = argc > 1 && std::strcmp(argv[1], "run") == 0;
  if (runs) warden.emplace(sallyport::WaitingWarden::Start());
  CLI::App app{"Runs programs in sandboxes whose only way out is a gate on the host.",
               "sandboxctl"};
  app.footer("Example:\n  sandboxctl run --policy policy.lua -- curl https://api.example.com/");
  app.set_version_flag("--version", VersionText());
  app.require_subcommand(1);
  sallyport::cli::Run run;
  sallyport::cli::AddRun(app, run, warden);
  if (!runs) AddOthers(app, run);  // A start would pay for them.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (const char* word = UnknownCommand(app, argc, argv)) {
      std::fprintf(stderr, "sandboxctl: there is no command '%s'\n", word);
    }
    return app.exit(error) == 0 ? 0 : kUsageError;
  }
  return run();
}
