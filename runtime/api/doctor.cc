#include "runtime/api/doctor.h"

#include "runtime/api/files.h"
#include "runtime/api/host_resolvers.h"
#include "runtime/backend/namespaces/namespace_backend.h"

namespace sallyport {

namespace {

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
    helpers.fix =
        "build or install sandbox-warden, sandbox-broker and sandbox-agent beside sandboxctl";
    report.can_run = false;
  }
  report.findings.push_back(std::move(helpers));
  if (auto fake = FakeResolver(HostResolvers())) {
    report.findings.push_back({"resolvers", HostFinding::State::kDegraded, *std::move(fake), ""});
  }
  return report;
}

}  // namespace sallyport
