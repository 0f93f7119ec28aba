#include "runtime/api/policy_file.h"

#include <filesystem>

#include "policy/question.h"
#include "runtime/api/files.h"

namespace sallyport {
namespace {

constexpr size_t kMaxPolicy = 4 * 1024 * 1024;

}  // namespace

Result<policy::Engine::Source> ReadPolicySource(const std::string& file) {
  auto text = ReadFile(file, kMaxPolicy);
  if (!text) return tl::unexpected(std::move(text).error());
  const auto path = ResolvePath(file);
  if (!path) return tl::unexpected(path.error());
  return policy::Engine::Source{.text = *std::move(text),
                                .name = std::filesystem::path(file).filename(),
                                .folder = std::filesystem::path(*path).parent_path()};
}

Result<policy::Engine::Source> ReadGivenPolicy(const std::string& file) {
  if (!IsPipe(file)) return ReadPolicySource(file);
  auto text = ReadFile(file, kMaxPolicy, FileKind::kRegularOrPipe);
  if (!text) return tl::unexpected(std::move(text).error());
  // What a shell makes leads to no path: "/proc/1234/fd/pipe:[5678]".
  const bool named = ResolvePath(file).has_value();
  return policy::Engine::Source{
      .text = *std::move(text),
      .name = named ? std::filesystem::path(file).filename().string() : kPipeName,
      .folder = std::filesystem::current_path()};
}

Result<std::unique_ptr<policy::Engine>> LoadForQuestions(const policy::Engine::Source& source) {
  auto loaded = policy::Engine::Load(source);
  if (loaded.engine == nullptr) {
    std::string why = "the policy has mistakes:";
    for (const auto& diagnostic : loaded.diagnostics) why += "\n" + diagnostic.ToString();
    return Fail(Code::kInvalid, why);
  }
  policy::GivePlaceholders(*loaded.engine);
  return std::move(loaded.engine);
}

}  // namespace sallyport
