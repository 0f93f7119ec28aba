#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "runtime/api/ports.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/table.h"

// Ports of the host that lead into a running sandbox.

namespace sallyport::cli {
namespace {

struct Target {
  std::string sandbox;
  std::string port;
};

int Complain(const Error& error) {
  std::fprintf(stderr, "sandboxctl: %s\n", error.message().c_str());
  return 1;
}

int Show(const std::string& sandbox) {
  const auto ports = PortsOfSandbox(sandbox);
  if (!ports) return Complain(ports.error());
  std::vector<std::vector<std::string>> rows{{"TRANSPORT", "HOST", "INSIDE", "OPEN"}};
  for (const SandboxPort& port : *ports) {
    rows.push_back({port.transport, port.host, port.guest, port.open});
  }
  PrintTable(rows);
  return 0;
}

int Add(const Target& target) {
  const auto port = ParsePort(target.port);
  if (!port) return Complain(Error(port.error()).In(target.port));
  const auto added = PublishPort(target.sandbox, *port);
  if (!added) return Complain(added.error());
  std::printf("%s/%s\n", added->host.c_str(), added->transport.c_str());
  return 0;
}

int Remove(const Target& target) {
  const auto removed = WithdrawPort(target.sandbox, target.port);
  if (!removed) return Complain(Error(removed.error()).In(target.port));
  for (const SandboxPort& port : *removed) {
    std::printf("%s/%s\n", port.host.c_str(), port.transport.c_str());
  }
  return 0;
}

std::shared_ptr<Target> AddTarget(CLI::App& command) {
  auto target = std::make_shared<Target>();
  command.add_option("SANDBOX", target->sandbox, "Its id, or the beginning of it")->required();
  return target;
}

void AddShow(CLI::App& port, Run& run) {
  auto* ls = port.add_subcommand("ls", "Shows the ports of this host that lead into a sandbox");
  ls->footer("Example:\n  sandboxctl port ls sp-h2k");
  auto target = AddTarget(*ls);
  ls->callback([&run, target] { run = [target] { return Show(target->sandbox); }; });
}

void AddAdd(CLI::App& port, Run& run) {
  auto* add = port.add_subcommand("add", "Lets another port of this host lead into a sandbox");
  add->footer(
      "Prints the address, which tells a port that was not chosen.\n\n"
      "Examples:\n  sandboxctl port add sp-h2k 8080:80\n  sandboxctl port add sp-h2k "
      "[::1]:0:53/udp");
  auto target = AddTarget(*add);
  add->add_option("PORT", target->port, "[BIND:]HOST:GUEST[/udp], as with run -p")->required();
  add->callback([&run, target] { run = [target] { return Add(*target); }; });
}

void AddRemove(CLI::App& port, Run& run) {
  auto* rm = port.add_subcommand("rm", "Takes a port back; connections through it end");
  rm->footer(
      "Examples:\n  sandboxctl port rm sp-h2k 8080\n  sandboxctl port rm sp-h2k [::1]:53/udp");
  auto target = AddTarget(*rm);
  rm->add_option("PORT", target->port, "[BIND:]HOST[/udp]; without BIND on every address")
      ->required();
  rm->callback([&run, target] { run = [target] { return Remove(*target); }; });
}

}  // namespace

void AddPort(CLI::App& app, Run& run) {
  auto* port = app.add_subcommand("port", "Works with the published ports of a running sandbox");
  port->require_subcommand(1);
  port->footer("Example:\n  sandboxctl port ls sp-h2k");
  AddShow(*port, run);
  AddAdd(*port, run);
  AddRemove(*port, run);
}

}  // namespace sallyport::cli
