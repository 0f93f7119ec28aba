#include "runtime/api/written_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "runtime/api/control.h"

namespace sallyport {
namespace {

bool StillRuns(const std::string& id) {
  const auto running = ListSandboxes();
  if (!running) return true;
  return std::any_of(running->begin(), running->end(),
                     [&id](const RunningSandbox& sandbox) { return sandbox.id == id; });
}

}  // namespace

Result<RunsOn> AskWhatItRunsOn(std::string_view sandbox) {
  auto reply = AskSandbox(sandbox, {"policy file", {}});
  if (!reply) return tl::unexpected(std::move(reply).error());
  RunsOn runs_on{.file = std::move(reply->text), .mounts = {}};
  for (auto& row : reply->rows) {
    if (row.size() != 2) return Fail(Code::kInvalid, "the sandbox's answer can't be understood");
    runs_on.mounts.push_back({.source = std::move(row[0]), .writable = row[1] != "ro"});
  }
  return runs_on;
}

Status CheckWrittenFile(const std::string& what, const std::string& path) {
  const auto running = ListSandboxes();
  if (!running) return tl::unexpected(running.error());
  for (const RunningSandbox& sandbox : *running) {
    auto runs_on = AskWhatItRunsOn(sandbox.id);
    if (!runs_on && !StillRuns(sandbox.id)) continue;  // It ended meanwhile.
    if (!runs_on) return tl::unexpected(std::move(runs_on).error().In(sandbox.id));
    const HostPath written{.what = what, .path = path, .folder = std::filesystem::current_path()};
    if (auto status = CheckHostPaths({written}, runs_on->mounts); !status) {
      return tl::unexpected(std::move(status).error().In(sandbox.id + " runs, and could change it"));
    }
  }
  return {};
}

}  // namespace sallyport
