#include "runtime/api/doctor.h"

#include <filesystem>

#include "policy/engine.h"
#include "runtime/api/files.h"
#include "runtime/backend/namespaces/namespace_backend.h"

namespace sallyport {

namespace {

constexpr size_t kMaxPolicy = 4 * 1024 * 1024;

HostFinding::State Translate(runtime::HostCheck::State state) {
  switch (state) {
    case runtime::HostCheck::State::kOk:
      return HostFinding::State::kOk;
    case runtime::HostCheck::State::kDegraded:
      return HostFinding::State::kDegraded;
    case runtime::HostCheck::State::kMissing:
      break;
  }
  return HostFinding::State::kMissing;
}

}  // namespace

HostReport ExamineHost() {
  HostReport report{.findings = {}, .can_run = true};
  for (auto& check : runtime::CheckNamespaceHost()) {
    const auto state = Translate(check.state);
    if (state == HostFinding::State::kMissing) report.can_run = false;
    report.findings.push_back(
        {std::move(check.what), state, std::move(check.detail), std::move(check.fix)});
  }
  HostFinding helpers{"helper programs", HostFinding::State::kOk, "", ""};
  if (const auto found = FindHelpers()) {
    helpers.detail = found->warden + ", " + found->agent;
  } else {
    helpers.state = HostFinding::State::kMissing;
    helpers.detail = found.error().message();
    helpers.fix = "build or install sandbox-warden, sandbox-broker and sandbox-agent beside sandboxctl";
    report.can_run = false;
  }
  report.findings.push_back(std::move(helpers));
  return report;
}

Result<PolicyReport> CheckPolicy(const std::string& file) {
  auto text = ReadFile(file, kMaxPolicy);
  if (!text) return tl::unexpected(std::move(text).error());
  const auto path = ResolvePath(file);
  if (!path) return tl::unexpected(path.error());
  const auto loaded = policy::Engine::Load({.text = *std::move(text),
                                            .name = std::filesystem::path(file).filename(),
                                            .folder = std::filesystem::path(*path).parent_path()});
  PolicyReport report;
  report.valid = loaded.engine != nullptr;
  for (const auto& diagnostic : loaded.diagnostics) report.messages.push_back(diagnostic.ToString());
  return report;
}

}  // namespace sallyport
