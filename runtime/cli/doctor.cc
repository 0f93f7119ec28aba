#include "runtime/api/doctor.h"

#include <cstdio>
#include <memory>

#include "runtime/cli/commands.h"

namespace sallyport::cli {

namespace {

const char* Mark(HostFinding::State state) {
  switch (state) {
    case HostFinding::State::kOk:
      return "ok      ";
    case HostFinding::State::kDegraded:
      return "degraded";
    case HostFinding::State::kMissing:
      break;
  }
  return "MISSING ";
}

int Doctor() {
  const HostReport report = ExamineHost();
  for (const auto& finding : report.findings) {
    std::printf("%s  %s: %s\n", Mark(finding.state), finding.what.c_str(), finding.detail.c_str());
    if (!finding.fix.empty()) std::printf("          fix: %s\n", finding.fix.c_str());
  }
  std::printf(report.can_run
                  ? "sandboxes run on this host\n"
                  : "sandboxes don't run on this host until what is missing is mended\n");
  return report.can_run ? 0 : 1;
}

}  // namespace

void AddDoctor(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand(
      "doctor", "Says what this host can do, what is missing, and how to mend it");
  command->footer("Exits with 0 when sandboxes run here, else 1.\n\nExample:\n  sandboxctl doctor");
  command->callback([&run, command] {
    if (command->get_subcommands().empty()) run = Doctor;
  });
  AddDoctorTrust(*command, run);
}

}  // namespace sallyport::cli
