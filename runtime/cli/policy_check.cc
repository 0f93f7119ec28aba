#include <cstdio>
#include <memory>
#include <string>

#include "runtime/api/doctor.h"
#include "runtime/cli/commands.h"

namespace sallyport::cli {

namespace {

int Check(const std::string& file) {
  const auto report = CheckPolicy(file);
  if (!report) {
    std::fprintf(stderr, "sandboxctl: %s\n", report.error().message().c_str());
    return 1;
  }
  for (const auto& message : report->messages) std::printf("%s\n", message.c_str());
  if (report->valid) std::printf("%s: the policy is valid\n", file.c_str());
  return report->valid ? 0 : 1;
}

}  // namespace

void AddPolicy(CLI::App& app, Run& run) {
  auto* policy = app.add_subcommand("policy", "Works with policy files");
  policy->require_subcommand(1);
  policy->footer("Example:\n  sandboxctl policy check policy.lua");
  auto* check = policy->add_subcommand("check", "Reports every mistake in a policy file; reads no secret");
  check->footer("Exits with 0 when the policy is valid, else 1.\n\nExample:\n  sandboxctl policy check policy.lua");
  auto file = std::make_shared<std::string>();
  check->add_option("FILE", *file, "The policy")->required();
  check->callback([&run, file] { run = [file] { return Check(*file); }; });
}

}  // namespace sallyport::cli
