#include <cstdio>
#include <memory>
#include <string>

#include "runtime/api/trust_doctor.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/table.h"

namespace sallyport::cli {
namespace {

using Answer = TrustFinding::Answer;

struct TrustOptions {
  std::string policy;
  bool json = false;
};

const char* Word(Answer answer) {
  if (answer == Answer::kUntried) return "not tried";
  return answer == Answer::kYes ? "yes" : "NO";
}

const char* JsonWord(Answer answer) {
  if (answer == Answer::kUntried) return "null";
  return answer == Answer::kYes ? "true" : "false";
}

/// TEXT in quotes; what is from inside is printable ASCII already.
std::string JsonString(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

void PrintJson(const TrustReport& report) {
  std::printf("{\"trusted\": %s, \"programs\": [", report.trusted ? "true" : "false");
  const char* separator = "\n";
  for (const TrustFinding& finding : report.findings) {
    std::printf(
        "%s  {\"name\": %s, \"with_variables\": %s, \"without\": %s, \"by\": %s, \"fix\": %s, "
        "\"said\": %s}",
        separator, JsonString(finding.name).c_str(), JsonWord(finding.with),
        JsonWord(finding.without), JsonString(finding.by).c_str(), JsonString(finding.fix).c_str(),
        JsonString(finding.said).c_str());
    separator = ",\n";
  }
  std::printf("\n]}\n");
}

void PrintText(const TrustReport& report) {
  std::vector<std::vector<std::string>> rows{
      {"PROGRAM", "TRUSTS THE GATE", "WITHOUT VARIABLES", "BY"}};
  for (const TrustFinding& finding : report.findings) {
    rows.push_back({finding.name, Word(finding.with), Word(finding.without), finding.by});
  }
  PrintTable(rows);
  for (const TrustFinding& finding : report.findings) {
    if (finding.fix.empty() && finding.said.empty()) continue;
    const char* untried = "it can't be tried as it is installed";
    std::printf("\n%s: %s\n", finding.name.c_str(),
                finding.fix.empty() ? untried : finding.fix.c_str());
    if (!finding.said.empty()) std::printf("  it said: %s\n", finding.said.c_str());
  }
  std::printf(
      "\nany other program: all roots are in /run/sallyport/ca-bundle.pem, the gate's alone is "
      "/run/sallyport/ca.pem\n");
  std::printf(report.trusted ? "\nall that were tried trust the gate\n"
                             : "\nnot all trust the gate\n");
}

int Trust(const TrustOptions& options) {
  const auto report =
      ExamineTrust(options.policy.empty() ? std::nullopt : std::optional(options.policy));
  if (!report) {
    std::fprintf(stderr, "sandboxctl: %s\n", report.error().message().c_str());
    return 125;
  }
  if (options.json) {
    PrintJson(*report);
  } else {
    PrintText(*report);
  }
  return report->trusted ? 0 : 1;
}

}  // namespace

void AddDoctorTrust(CLI::App& doctor, Run& run) {
  auto* command = doctor.add_subcommand("trust",
                                        "Tries in a sandbox which programs trust the gate's "
                                        "certificates, and says what to do for others");
  auto options = std::make_shared<TrustOptions>();
  command->add_option("-f,--policy", options->policy,
                      "Takes the mounts from this policy; reads no secret");
  command->add_flag("--json", options->json, "Prints JSON");
  command->footer(
      "Nothing leaves the host: a program that reads the gate's refusal of a name that does not "
      "exist trusts it.\n"
      "Exits with 0 when all that were tried trust it with the sandbox's variables, else 1; 125 "
      "the sandbox "
      "failed.\n\nExample:\n  sandboxctl doctor trust");
  command->callback([&run, options] { run = [options] { return Trust(*options); }; });
}

}  // namespace sallyport::cli
