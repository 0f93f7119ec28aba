#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>

#include "base/result.h"
#include "runtime/api/waiting_warden.h"

namespace sallyport::cli {

/// Each adds its command to APP and, when it was chosen, sets RUN to what does the work and returns the
/// exit code.
using Run = std::function<int()>;
/// WARDEN is what the sandbox is started with, where it was started ahead.
void AddRun(CLI::App& app, Run& run, std::optional<Result<WaitingWarden>>& warden);
void AddDoctor(CLI::App& app, Run& run);
/// Below `doctor`.
void AddDoctorTrust(CLI::App& doctor, Run& run);
void AddPolicy(CLI::App& app, Run& run);
void AddAudit(CLI::App& app, Run& run);
void AddWhy(CLI::App& app, Run& run);
void AddLs(CLI::App& app, Run& run);
void AddSecret(CLI::App& app, Run& run);
void AddApprovals(CLI::App& app, Run& run);
void AddPort(CLI::App& app, Run& run);
void AddFlows(CLI::App& app, Run& run);
void AddStats(CLI::App& app, Run& run);

}  // namespace sallyport::cli
