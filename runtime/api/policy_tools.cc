#include "runtime/api/policy_tools.h"

#include <charconv>
#include <filesystem>

#include "policy/engine.h"
#include "policy/presets.h"
#include "policy/question.h"
#include "runtime/api/files.h"

namespace sallyport {
namespace {

constexpr size_t kMaxPolicy = 4 * 1024 * 1024;

struct PolicyFile {
  policy::Engine::Source source;
  policy::Engine::Loaded loaded;
};

Result<PolicyFile> Load(const std::string& file) {
  auto text = ReadFile(file, kMaxPolicy);
  if (!text) return tl::unexpected(std::move(text).error());
  const auto path = ResolvePath(file);
  if (!path) return tl::unexpected(path.error());
  PolicyFile policy;
  policy.source = {.text = *std::move(text),
                   .name = std::filesystem::path(file).filename(),
                   .folder = std::filesystem::path(*path).parent_path()};
  policy.loaded = policy::Engine::Load(policy.source);
  return policy;
}

/// The line that RULE ("policy.lua:12", "policy.lua:3(npm:4)") stands on; empty for a rule's own
/// name.
std::string SourceLine(const policy::Engine::Source& source, std::string_view rule) {
  const std::string prefix = source.name + ":";
  if (!rule.starts_with(prefix)) return "";
  size_t number = 0;
  const char* const begin = rule.data() + prefix.size();
  if (std::from_chars(begin, rule.data() + rule.size(), number).ec != std::errc()) return "";
  size_t current = 0;
  for (const auto line : Lines(source.text)) {
    if (++current == number) return std::string(line);
  }
  return "";
}

std::string ToText(const PolicyFile& policy, const policy::Answer& answer) {
  std::string text = answer.allowed ? "allowed" : "denied";
  if (!answer.rule.empty()) text += " by " + answer.rule;
  if (!answer.allowed) text += " (" + answer.reason + ")";
  text += "\n";
  if (const auto line = SourceLine(policy.source, answer.rule); !line.empty())
    text += "  | " + line + "\n";
  text += "  " + answer.detail + "\n";
  for (const auto& step : answer.steps) text += "  - " + step + "\n";
  if (answer.allowed && !answer.secrets.empty()) {
    text += "  - secrets that this host may receive:";
    for (const auto& secret : answer.secrets) text += " " + secret;
    text += "\n";
  }
  if (!answer.how_to_allow.empty()) text += "to allow it, add:\n  " + answer.how_to_allow + "\n";
  return text;
}

}  // namespace

Result<PolicyReport> CheckPolicy(const std::string& file) {
  const auto policy = Load(file);
  if (!policy) return tl::unexpected(policy.error());
  PolicyReport report;
  report.valid = policy->loaded.engine != nullptr;
  for (const auto& diagnostic : policy->loaded.diagnostics)
    report.messages.push_back(diagnostic.ToString());
  return report;
}

Result<PolicyAnswer> ExplainPolicy(const std::string& file, const std::vector<std::string>& words) {
  auto question = policy::Question::Parse(words);
  if (!question) return tl::unexpected(std::move(question).error());
  const auto policy = Load(file);
  if (!policy) return tl::unexpected(policy.error());
  if (!policy->loaded.engine) {
    std::string why = "the policy has mistakes:";
    for (const auto& diagnostic : policy->loaded.diagnostics) why += "\n" + diagnostic.ToString();
    return Fail(Code::kInvalid, why);
  }
  const auto answer = policy::Decide(*policy->loaded.engine, *std::move(question));
  return PolicyAnswer{answer.allowed, ToText(*policy, answer)};
}

Result<std::string> PresetText(const std::string& name) {
  if (const auto* preset = policy::FindPreset(name.substr(0, name.find('@')))) {
    return std::string(preset->text);
  }
  std::string why = "no preset is called '" + name + "'; there are";
  for (const auto& known : PresetNames()) why += " " + known;
  return Fail(Code::kNotFound, why);
}

Result<std::string> ProfileText(const std::string& name) {
  if (const auto* profile = policy::FindProfile(name)) return std::string(profile->text);
  std::string why = "no profile is called '" + name + "'; there are";
  for (const auto& known : ProfileNames()) why += " " + known;
  return Fail(Code::kNotFound, why);
}

std::vector<std::string> ProfileNames() {
  std::vector<std::string> names;
  for (const auto& profile : policy::Profiles()) names.emplace_back(profile.name);
  return names;
}

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const auto& preset : policy::Presets()) {
    names.push_back(std::string(preset.name) + "@" + std::to_string(preset.version));
  }
  return names;
}

}  // namespace sallyport
