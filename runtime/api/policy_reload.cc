#include "runtime/api/policy_reload.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "runtime/api/control.h"
#include "runtime/api/files.h"
#include "runtime/api/host_paths.h"
#include "runtime/api/policy_file.h"
#include "runtime/api/written_files.h"
#include "runtime/warden/reload_message.h"

namespace sallyport {
namespace {

using runtime::ReloadMessage;

constexpr size_t kMaxValue = 64 * 1024;

/// The value of SPEC where its source is a variable or a file that can be read. The sandbox says
/// what is missing: it knows what it has already.
std::optional<std::string> ReadValue(const SecretSpec& spec, ReloadMessage& message) {
  if (const auto* env = std::get_if<EnvSource>(&spec.source)) {
    const char* value = std::getenv(env->variable.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  }
  const auto* file = std::get_if<FileSource>(&spec.source);
  if (file == nullptr) return std::nullopt;
  auto value = ReadFile(file->path, kMaxValue);
  auto path = ResolvePath(file->path);
  if (!value || !path) return std::nullopt;
  message.files.push_back(*std::move(path));
  if (value->ends_with('\n')) value->pop_back();
  return *std::move(value);
}

}  // namespace

Result<ReloadReport> ReloadPolicy(std::string_view sandbox,
                                  const std::optional<std::string>& file) {
  const auto runs_on = AskWhatItRunsOn(sandbox);
  if (!runs_on) return tl::unexpected(runs_on.error());
  const std::string path = file.value_or(runs_on->file);
  if (IsPipe(path) || (!file && std::filesystem::path(path).filename() == kPipeName)) {
    const std::string what = file ? path + " is a pipe" : "the sandbox's policy came through a pipe";
    return Fail(Code::kInvalid, "nothing was changed: " + what +
                                    ", which can't be read again; name a file, as in sandboxctl policy "
                                    "reload " +
                                    std::string(sandbox) + " policy.lua");
  }
  if (std::error_code error; !file && !std::filesystem::exists(path, error)) {
    return Fail(Code::kNotFound,
                "nothing was changed: the policy that the sandbox runs on is no file (" + path +
                    "); name one, as in sandboxctl policy reload " + std::string(sandbox) +
                    " policy.lua");
  }
  if (auto status = CheckHostPaths(
          {{.what = "the policy", .path = path, .folder = std::filesystem::current_path()}},
          runs_on->mounts);
      !status) {
    return tl::unexpected(std::move(status).error().In("nothing was changed"));
  }
  auto source = ReadPolicySource(path);
  if (!source) return tl::unexpected(std::move(source).error().In("nothing was changed"));
  const auto resolved = ResolvePath(path);
  if (!resolved) return tl::unexpected(resolved.error());
  auto loaded = policy::Engine::Load(*source);
  ReloadReport report;
  std::string all;
  for (const auto& diagnostic : loaded.diagnostics) {
    all += "\n" + diagnostic.ToString();
    report.warnings.push_back(diagnostic.ToString());
  }
  if (loaded.engine == nullptr) {
    return Fail(Code::kInvalid, "nothing was changed: the policy has mistakes:" + all);
  }
  if (auto status = CheckHostPaths(PathsOf(*loaded.engine), runs_on->mounts); !status) {
    return tl::unexpected(std::move(status).error().In("nothing was changed"));
  }
  ReloadMessage message{.text = std::move(source->text),
                        .name = std::move(source->name),
                        .folder = std::move(source->folder),
                        .files = {*resolved},
                        .values = {}};
  for (const SecretSpec& spec : loaded.engine->secrets()) {
    if (auto value = ReadValue(spec, message)) {
      message.values.emplace_back(spec.name, *value);
      explicit_bzero(value->data(), value->size());
    }
  }
  std::string bytes = message.Encode();
  for (auto& [name, value] : message.values) explicit_bzero(value.data(), value.size());
  const auto attached = ValueFile(bytes);
  explicit_bzero(bytes.data(), bytes.size());
  if (!attached) return tl::unexpected(attached.error());
  auto reply = AskSandbox(sandbox, {"policy reload", {}}, *attached);
  if (!reply) return tl::unexpected(std::move(reply).error());
  report.text = std::move(reply->text);
  for (auto& row : reply->rows) {
    if (!row.empty()) report.warnings.push_back(std::move(row[0]));
  }
  return report;
}

}  // namespace sallyport
