#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/api/flows.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/table.h"

// The flows of running sandboxes: once, or again and again.

namespace sallyport::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kIntervalMilliseconds = 1000;

struct Options {
  std::string sandbox;
  bool follow = false;
  bool json = false;
};

int Complain(const Error& error) {
  std::fprintf(stderr, "sandboxctl: %s\n", error.message().c_str());
  return 1;
}

/// Names come from the guest, rules from a file: nothing that acts on terminals.
std::string Shown(std::string text) {
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text.empty() ? "-" : text;
}

std::string Size(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"", "K", "M", "G", "T"};
  size_t unit = 0;
  while (bytes >= 9999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.0f%s", bytes, kUnits[unit]);
  return text.data();
}

/// How fast each flow is: since it was seen last or, of one that is new, since it began.
class Rates {
 public:
  using Key = std::pair<std::string, uint64_t>;
  struct Seen {
    SandboxFlow flow;
    double rate = 0;  ///< Bytes a second, both ways together.
    bool changed = false;
  };

  std::vector<Seen> Update(std::vector<SandboxFlow> flows) {
    const auto now = SteadyClock::now();
    const double passed = std::chrono::duration<double>(now - last_).count();
    std::map<Key, SandboxFlow> next;
    std::vector<Seen> seen;
    for (SandboxFlow& flow : flows) {
      const Key key{flow.sandbox, flow.id};
      const auto before = known_.find(key);
      Seen& one = seen.emplace_back();
      one.rate = before == known_.end()
                     ? PerSecond(Bytes(flow), static_cast<double>(flow.age_ms) / 1000)
                     : PerSecond(Bytes(flow) - Bytes(before->second), passed);
      one.changed = before == known_.end() || Bytes(flow) != Bytes(before->second) ||
                    flow.state != before->second.state;
      if (before != known_.end()) known_.erase(before);
      next.emplace(key, flow);
      one.flow = std::move(flow);
    }
    ended_.clear();
    for (auto& [key, flow] : known_) {
      flow.state = "ended";
      ended_.push_back(std::move(flow));
    }
    known_ = std::move(next);
    last_ = now;
    return seen;
  }
  /// Those that the last Update() did not have any more.
  const std::vector<SandboxFlow>& ended() const { return ended_; }

 private:
  static uint64_t Bytes(const SandboxFlow& flow) { return flow.bytes_up + flow.bytes_down; }
  static double PerSecond(uint64_t bytes, double seconds) {
    return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  }

  std::map<Key, SandboxFlow> known_;
  std::vector<SandboxFlow> ended_;
  SteadyClock::time_point last_;
};

std::vector<std::string> RowOf(const SandboxFlow& flow, double rate) {
  const bool in = flow.direction == "in";
  return {flow.sandbox + "/" + std::to_string(flow.id),
          flow.transport + (in ? " in" : ""),
          Shown(flow.name),
          Shown(flow.destination),
          Shown(flow.rule),
          flow.state,
          Size(static_cast<double>(flow.bytes_up)),
          Size(static_cast<double>(flow.bytes_down)),
          Size(rate) + "/s"};
}

std::vector<std::vector<std::string>> TableOf(const std::vector<Rates::Seen>& seen) {
  std::vector<std::vector<std::string>> rows{
      {"FLOW", "TRANSPORT", "NAME", "DESTINATION", "RULE", "STATE", "UP", "DOWN", "RATE"}};
  for (const auto& one : seen) rows.push_back(RowOf(one.flow, one.rate));
  return rows;
}

void PrintLine(const SandboxFlow& flow, double rate, const Options& options) {
  if (options.json) {
    std::printf("%s\n", flow.ToJson().c_str());
    return;
  }
  std::string line;
  for (const std::string& field : RowOf(flow, rate)) line += (line.empty() ? "" : " ") + field;
  std::printf("%s\n", line.c_str());
}

/// The fastest, as many as the window takes.
void Paint(std::vector<Rates::Seen> seen) {
  winsize window{};
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
  const size_t lines = window.ws_row > 3 ? window.ws_row - 2u : 20u;
  const size_t columns = window.ws_col > 0 ? window.ws_col : 200u;
  const size_t all = seen.size();
  if (all > lines - 1) {
    std::stable_sort(seen.begin(), seen.end(),
                     [](const auto& a, const auto& b) { return a.rate > b.rate; });
    seen.resize(lines - 2);
  }
  std::printf("\033[H\033[2J");
  for (const std::string& line : TableLines(TableOf(seen))) {
    std::printf("%s\n", line.substr(0, columns).c_str());
  }
  if (seen.size() < all) std::printf("and %zu more\n", all - seen.size());
}

void Print(Rates& rates, std::vector<SandboxFlow> flows, const Options& options) {
  const bool terminal = isatty(STDOUT_FILENO) == 1 && !options.json;
  auto seen = rates.Update(std::move(flows));
  if (!options.follow && !options.json) return PrintTable(TableOf(seen));
  if (options.follow && terminal) return Paint(std::move(seen));
  for (const auto& one : seen) {
    if (one.changed) PrintLine(one.flow, one.rate, options);
  }
  for (const SandboxFlow& flow : rates.ended()) PrintLine(flow, 0, options);
}

int Show(const Options& options) {
  Rates rates;
  for (bool first = true;; first = false) {
    auto flows = OpenFlows(options.sandbox);
    if (!flows && !first && flows.error().code() == Code::kNotFound) return 0;  // It has ended.
    if (!flows) return Complain(flows.error());
    Print(rates, *std::move(flows), options);
    if (std::fflush(stdout) != 0) return 0;  // Nobody reads any more.
    if (!options.follow) return 0;
    poll(nullptr, 0, kIntervalMilliseconds);
  }
}

}  // namespace

void AddFlows(CLI::App& app, Run& run) {
  auto* flows = app.add_subcommand("flows", "Shows the connections of your sandboxes");
  flows->footer(
      "RATE counts both ways. With -f a terminal shows the table anew each second; elsewhere there "
      "is\n"
      "a line for each flow that has changed. `sandboxctl why FLOW` says more of a refused one.\n\n"
      "Examples:\n  sandboxctl flows -f sp-h2k\n  sandboxctl flows --json | jq 'select(.bytes_up > "
      "1000000)'");
  auto options = std::make_shared<Options>();
  flows->add_option("SANDBOX", options->sandbox, "Only this one's: its id, or the beginning of it");
  flows->add_flag("-f,--follow", options->follow, "Stay, and show what changes");
  flows->add_flag("--json", options->json, "A JSON object for each, a line each");
  flows->callback([&run, options] { run = [options] { return Show(*options); }; });
}

}  // namespace sallyport::cli
