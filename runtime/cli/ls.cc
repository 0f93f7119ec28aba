#include <cstdio>

#include "runtime/api/control.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/table.h"

namespace sallyport::cli {
namespace {

int List() {
  const auto running = ListSandboxes();
  if (!running) {
    std::fprintf(stderr, "sandboxctl: %s\n", running.error().message().c_str());
    return 1;
  }
  std::vector<std::vector<std::string>> rows{{"SANDBOX", "POLICY", "BACKEND", "LINK"}};
  for (const RunningSandbox& sandbox : *running) {
    if (sandbox.starting) {
      rows.push_back({sandbox.id, "(starting)", "-", "-"});
    } else {
      rows.push_back({sandbox.id, sandbox.policy, sandbox.backend, sandbox.link});
    }
  }
  PrintTable(rows);
  return 0;
}

}  // namespace

void AddLs(CLI::App& app, Run& run) {
  auto* ls = app.add_subcommand("ls", "Shows your sandboxes that run now");
  ls->footer("Example:\n  sandboxctl ls");
  ls->callback([&run] { run = [] { return List(); }; });
}

}  // namespace sallyport::cli
