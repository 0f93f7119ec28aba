#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "runtime/api/control.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/secret_value.h"
#include "runtime/cli/table.h"

namespace sallyport::cli {
namespace {

/// What all of these commands are about.
struct Target {
  std::string sandbox;
  std::string secret;
};

int Complain(const Error& error) {
  std::fprintf(stderr, "sandboxctl: %s\n", error.message().c_str());
  return 1;
}

/// Asks, and prints what was asked for.
int Ask(const std::string& sandbox, const runtime::ControlRequest& request,
        const UniqueFd& value = {}) {
  const auto reply = AskSandbox(sandbox, request, value);
  if (!reply) return Complain(reply.error());
  if (!reply->text.empty()) std::printf("%s\n", reply->text.c_str());
  PrintTable(reply->rows);
  return 0;
}

int AskWithValue(const std::string& sandbox, const runtime::ControlRequest& request,
                 const ValueSource& source) {
  const auto value = ReadValue(source);
  if (!value) return Complain(value.error());
  return Ask(sandbox, request, *value);
}

/// NAME@HOST[,HOST…] as the request's arguments: the name, then the hosts.
Result<std::vector<std::string>> ParseGrant(const std::string& text) {
  const size_t at = text.find('@');
  if (at == 0 || at == std::string::npos || at + 1 == text.size()) {
    return Fail(Code::kInvalid, text + ": write NAME@HOST, as in GITHUB_TOKEN@api.github.com");
  }
  std::vector<std::string> arguments{text.substr(0, at)};
  for (size_t start = at + 1; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    arguments.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return arguments;
}

int Add(const Target& target, const ValueSource& source) {
  auto arguments = ParseGrant(target.secret);
  if (!arguments) return Complain(arguments.error());
  return AskWithValue(target.sandbox, {"secret add", *std::move(arguments)}, source);
}

std::shared_ptr<Target> AddTarget(CLI::App& command, const char* name, const char* meaning) {
  auto target = std::make_shared<Target>();
  command.add_option("SANDBOX", target->sandbox, "Its id, or the beginning of it")->required();
  if (name != nullptr) command.add_option(name, target->secret, meaning)->required();
  return target;
}

void AddShow(CLI::App& secret, Run& run) {
  auto* ls = secret.add_subcommand("ls", "Shows the secrets of a sandbox, never their values");
  ls->footer("Example:\n  sandboxctl secret ls sp-h2k");
  auto target = AddTarget(*ls, nullptr, nullptr);
  ls->callback([&run, target] {
    run = [target] { return Ask(target->sandbox, {"secret ls", {}}); };
  });
}

void AddAdd(CLI::App& secret, Run& run) {
  auto* add =
      secret.add_subcommand("add", "Gives a sandbox another secret, and prints its placeholder");
  add->footer(
      "The policy must let the sandbox reach the hosts; a secret grants nothing.\n\n"
      "Example:\n  sandboxctl secret add sp-h2k NPM_TOKEN@registry.npmjs.org --env NPM_TOKEN");
  auto target = AddTarget(*add, "SECRET", "NAME@HOST[,HOST...]: its name, and who may receive it");
  auto source = AddValueOptions(*add);
  add->callback(
      [&run, target, source] { run = [target, source] { return Add(*target, *source); }; });
}

void AddRotate(CLI::App& secret, Run& run) {
  auto* rotate =
      secret.add_subcommand("rotate", "Gives a secret another value; its placeholder stays");
  rotate->footer("Example:\n  gh auth token | sandboxctl secret rotate sp-h2k GITHUB_TOKEN");
  auto target = AddTarget(*rotate, "NAME", "The secret");
  auto source = AddValueOptions(*rotate);
  rotate->callback([&run, target, source] {
    run = [target, source] {
      return AskWithValue(target->sandbox, {"secret rotate", {target->secret}}, *source);
    };
  });
}

void AddRevoke(CLI::App& secret, Run& run) {
  auto* revoke = secret.add_subcommand("revoke", "Refuses a secret's use from now on");
  revoke->footer("Example:\n  sandboxctl secret revoke sp-h2k GITHUB_TOKEN");
  auto target = AddTarget(*revoke, "NAME", "The secret");
  revoke->callback([&run, target] {
    run = [target] { return Ask(target->sandbox, {"secret revoke", {target->secret}}); };
  });
}

}  // namespace

void AddSecret(CLI::App& app, Run& run) {
  auto* secret = app.add_subcommand("secret", "Works with the secrets of a running sandbox");
  secret->require_subcommand(1);
  secret->footer("Example:\n  sandboxctl secret ls sp-h2k");
  AddShow(*secret, run);
  AddAdd(*secret, run);
  AddRotate(*secret, run);
  AddRevoke(*secret, run);
}

}  // namespace sallyport::cli
