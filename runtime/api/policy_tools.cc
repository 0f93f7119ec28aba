#include "runtime/api/policy_tools.h"

#include "policy/engine.h"
#include "policy/presets.h"
#include "policy/question.h"
#include "policy/test_file.h"
#include "runtime/api/host_resolvers.h"
#include "runtime/api/policy_file.h"

namespace sallyport {
namespace {

std::string ToText(const policy::Engine::Source& source, const policy::Answer& answer) {
  std::string text = answer.allowed ? "allowed" : "denied";
  if (!answer.rule.empty()) text += " by " + answer.rule;
  if (!answer.allowed) text += " (" + answer.reason + ")";
  text += "\n";
  if (const auto line = policy::SourceLine(source, answer.rule); !line.empty())
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
  const auto source = ReadGivenPolicy(file);
  if (!source) return tl::unexpected(source.error());
  const auto loaded = policy::Engine::Load(*source);
  PolicyReport report;
  report.valid = loaded.engine != nullptr;
  for (const auto& diagnostic : loaded.diagnostics)
    report.messages.push_back(diagnostic.ToString());
  if (!report.valid || !loaded.engine->dns().resolvers.empty()) return report;
  if (const auto fake = FakeResolver(HostResolvers())) {
    report.messages.push_back(source->name + ": warning: " + *fake);
  }
  return report;
}

Result<PolicyAnswer> ExplainPolicy(const std::string& file, const std::vector<std::string>& words) {
  auto question = policy::Question::Parse(words);
  if (!question) return tl::unexpected(std::move(question).error());
  const auto source = ReadGivenPolicy(file);
  if (!source) return tl::unexpected(source.error());
  const auto engine = LoadForQuestions(*source);
  if (!engine) return tl::unexpected(engine.error());
  const auto answer = policy::Decide(**engine, *std::move(question));
  return PolicyAnswer{answer.allowed, ToText(*source, answer)};
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
