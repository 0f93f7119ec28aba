#include <cstdio>
#include <memory>
#include <string>

#include "runtime/api/stats.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/table.h"

namespace sallyport::cli {
namespace {

struct Options {
  std::string sandbox;
  bool json = false;
  bool prometheus = false;
};

/// For people: what is not 0.
void PrintNumbers(const SandboxStats& stats) {
  std::vector<std::vector<std::string>> rows;
  for (const SandboxNumber& number : stats.numbers) {
    if (number.value == "0") continue;
    std::string name = number.name;
    std::string labels;
    for (const auto& [key, value] : number.labels) {
      labels += (labels.empty() ? "" : " ") + key + "=" + value;
    }
    rows.push_back({stats.sandbox, std::move(name), std::move(labels), number.value});
  }
  PrintTable(rows);
}

int Show(const Options& options) {
  const auto stats = StatsOf(options.sandbox);
  if (!stats) {
    std::fprintf(stderr, "sandboxctl: %s\n", stats.error().message().c_str());
    return 1;
  }
  if (options.json || options.prometheus) {
    const std::string text = options.json ? ToJson(*stats) : ToPrometheus(*stats);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  for (const SandboxStats& of : *stats) PrintNumbers(of);
  return 0;
}

}  // namespace

void AddStats(CLI::App& app, Run& run) {
  auto* stats = app.add_subcommand("stats", "Shows what your sandboxes' gates have counted");
  stats->footer(
      "Without --json or --prometheus what is 0 is left out.\n\n"
      "Examples:\n  sandboxctl stats sp-h2k\n"
      "  sandboxctl stats --prometheus > /var/lib/node_exporter/sallyport.prom");
  auto options = std::make_shared<Options>();
  stats->add_option("SANDBOX", options->sandbox, "Only this one's: its id, or the beginning of it");
  auto* json =
      stats->add_flag("--json", options->json, "A JSON object for each sandbox, a line each");
  stats->add_flag("--prometheus", options->prometheus, "The text format of Prometheus")
      ->excludes(json);
  stats->callback([&run, options] { run = [options] { return Show(*options); }; });
}

}  // namespace sallyport::cli
