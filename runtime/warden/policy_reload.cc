#include "runtime/warden/policy_reload.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

namespace sallyport::runtime {
namespace {

using policy::Engine;
using secrets::Secret;

/// Wipes the bytes of a message, and its values, on every way out.
struct Wiping {
  std::string bytes;
  ReloadMessage message;
  ~Wiping() {
    secrets::WipeString(bytes);
    for (auto& [name, value] : message.values) secrets::WipeString(value);
  }
};

Status ReadMessage(const UniqueFd& file, Wiping& read) {
  // A file of any other kind could keep us waiting.
  struct stat info {};
  if (!file.valid() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Fail(Code::kInvalid, "the policy is missing");
  }
  if (static_cast<size_t>(info.st_size) > kMaxReloadMessage) {
    return Fail(Code::kLimit, "the policy and its secrets have more than 4 MiB");
  }
  read.bytes.resize(static_cast<size_t>(info.st_size));
  const ssize_t got = pread(file.get(), read.bytes.data(), read.bytes.size(), 0);
  if (got != static_cast<ssize_t>(read.bytes.size())) {
    return Fail(Code::kInvalid, "the policy can't be read");
  }
  auto message = ReloadMessage::Decode(read.bytes);
  if (!message) return tl::unexpected(std::move(message).error());
  read.message = *std::move(message);
  return {};
}

bool IsBelow(const std::string& path, const std::string& folder) {
  if (folder == "/" || path == folder) return true;
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

const SecretSpec* Find(const std::vector<SecretSpec>& specs, const std::string& name) {
  const auto found = std::find_if(specs.begin(), specs.end(),
                                  [&name](const SecretSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

bool FromOutside(const SecretSpec& spec) {
  return spec.declared_at == "--secret" || spec.declared_at == "secret add";
}

bool SameMounts(const policy::SandboxOptions& a, const policy::SandboxOptions& b) {
  const auto same = [](const auto& x, const auto& y) {
    return x.source == y.source && x.target == y.target && x.writable == y.writable &&
           x.is_template == y.is_template;
  };
  return std::equal(a.mounts.begin(), a.mounts.end(), b.mounts.begin(), b.mounts.end(), same);
}

bool SameBudget(const policy::RuleBudgetPtr& a, const policy::RuleBudgetPtr& b) {
  return a && b ? *a == *b : a == b;
}

bool SameProxy(const std::optional<ProxySpec>& a, const std::optional<ProxySpec>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->from == b->from && a->url == b->url && a->source == b->source &&
         a->no_proxy == b->no_proxy;
}

bool SameServer(const policy::UpstreamOptions::Server& a,
                const policy::UpstreamOptions::Server& b) {
  const auto files = [](const auto& certificate) {
    return certificate ? std::make_pair(certificate->cert_file, certificate->key_file)
                       : std::pair<std::string, std::string>();
  };
  return a.host == b.host && a.ca_files == b.ca_files && a.pins == b.pins &&
         files(a.client_cert) == files(b.client_cert);
}

bool SameUpstream(const policy::UpstreamOptions& a, const policy::UpstreamOptions& b) {
  return a.ca_files == b.ca_files && SameProxy(a.proxy, b.proxy) &&
         std::equal(a.servers.begin(), a.servers.end(), b.servers.begin(), b.servers.end(),
                    SameServer);
}

/// Why a reload brings no value from SOURCE.
std::string WhyMissing(const SecretSource& source) {
  if (const auto* env = std::get_if<EnvSource>(&source)) {
    return "the variable " + env->variable + " is not set where the reload was asked for";
  }
  if (const auto* file = std::get_if<FileSource>(&source)) return file->path + " can't be read";
  return "a source of this kind is read at the start only; take env, file, or `sandboxctl secret "
         "add`";
}

ControlReply Refused(const Error& error) {
  return {.done = false, .text = "nothing was changed: " + error.message(), .rows = {}};
}

}  // namespace

/// A policy that could come into force.
struct PolicyReload::Plan {
  std::unique_ptr<Engine> engine;
  std::vector<std::string> warnings;
  std::map<std::string, Secret> values;  ///< Of secrets that are new, or have another source.
  std::vector<std::string> gone;         ///< Secrets whose source is not to be asked any more.
};

Engine::Uncovered UncoveredOf(const Launch& launch) {
  return launch.learn ? Engine::Uncovered::kLearnt : Engine::Uncovered::kDenied;
}

std::vector<std::string> UnchangeableParts(const Engine& running, const Engine& next) {
  const auto& was = running.sandbox();
  const auto& is = next.sandbox();
  std::vector<std::string> warnings;
  const auto compare = [&warnings](bool same, const char* part) {
    if (same) return;
    warnings.push_back(std::string("warning: ") + part +
                       " can't change while the sandbox runs; it stays as it was at the start");
  };
  compare(was.image == is.image, "sandbox { image }");
  compare(was.isolation == is.isolation, "sandbox { isolation }");
  compare(was.cpus == is.cpus, "sandbox { cpus }");
  compare(was.memory == is.memory, "sandbox { memory }");
  compare(was.workdir == is.workdir, "sandbox { workdir }");
  compare(was.hostname == is.hostname, "sandbox { hostname }");
  compare(was.timeout == is.timeout, "sandbox { timeout }");
  compare(was.network == is.network, "sandbox { network }");
  compare(was.env == is.env, "sandbox { env }");
  compare(SameMounts(was, is), "sandbox { mounts }");
  compare(was.approvals == is.approvals, "sandbox { approvals }");
  compare(SameBudget(was.budget, is.budget), "what all together may spend (sandbox { rate, … })");
  compare(running.dns().resolvers == next.dns().resolvers, "dns { resolvers }");
  compare(SameUpstream(running.upstream(), next.upstream()), "upstream");
  return warnings;
}

ControlReply PolicyReload::Run(const UniqueFd& attached) {
  Wiping read;
  if (auto status = ReadMessage(attached, read); !status) return Refused(status.error());
  if (auto status = CheckFiles(read.message); !status) return Refused(status.error());
  auto plan = Load(read.message);
  if (!plan) return Refused(plan.error());
  if (auto status = CheckSecrets(read.message, *plan); !status) return Refused(status.error());
  const auto warnings = plan->warnings;
  auto done = Apply(read.message, *std::move(plan));
  if (!done) return Refused(done.error());
  ControlReply reply{.done = true, .text = *std::move(done), .rows = {}};
  for (const auto& warning : warnings) reply.rows.push_back({warning});
  return reply;
}

/// What the sandbox can write must not become its policy, or a secret's value. A mask makes no
/// difference there: the host may have put another file at its place since, which the sandbox has
/// written to.
Status PolicyReload::CheckFiles(const ReloadMessage& message) const {
  const auto& masked = services_.launch.masked;
  for (const std::string& file : message.files) {
    const bool hidden = std::any_of(masked.begin(), masked.end(),
                                    [&file](const auto& path) { return IsBelow(file, path); });
    for (const auto& mount : services_.launch.mounts) {
      if (!IsBelow(file, mount.source) || (hidden && !mount.writable)) continue;
      return Fail(Code::kDenied,
                  file + " lies in " + mount.source +
                      ", which is mounted in the sandbox; use a file from elsewhere");
    }
  }
  return {};
}

Result<PolicyReload::Plan> PolicyReload::Load(const ReloadMessage& message) const {
  auto loaded =
      Engine::Load({.text = message.text, .name = message.name, .folder = message.folder},
                   UncoveredOf(services_.launch));
  if (loaded.engine == nullptr) {
    std::string why = "the policy has mistakes:";
    for (const auto& diagnostic : loaded.diagnostics) why += "\n" + diagnostic.ToString();
    return Fail(Code::kInvalid, std::move(why));
  }
  Plan plan;
  plan.engine = std::move(loaded.engine);
  plan.warnings = UnchangeableParts(services_.engine, *plan.engine);
  for (const SecretSpec& spec : services_.engine.secrets()) {
    if (FromOutside(spec)) plan.engine->AddSecret(spec);
  }
  return plan;
}

Status PolicyReload::CheckSecrets(const ReloadMessage& message, Plan& plan) const {
  const auto& running = services_.engine.secrets();
  for (const SecretSpec& spec : running) {
    if (Find(plan.engine->secrets(), spec.name) == nullptr) plan.gone.push_back(spec.name);
  }
  for (const SecretSpec& spec : plan.engine->secrets()) {
    const SecretSpec* known = Find(running, spec.name);
    if (FromOutside(spec) || (known != nullptr && known->source == spec.source)) continue;
    plan.gone.push_back(spec.name);
    const auto given =
        std::find_if(message.values.begin(), message.values.end(),
                     [&spec](const auto& value) { return value.first == spec.name; });
    const std::string where = spec.declared_at + ": secret " + spec.name;
    if (given == message.values.end()) {
      return Fail(Code::kNotFound, where + ": " + WhyMissing(spec.source));
    }
    auto value = Secret::Create(given->second);
    if (!value) return tl::unexpected(std::move(value).error().In(where));
    plan.values.insert_or_assign(spec.name, *std::move(value));
  }
  return {};
}

Result<std::string> PolicyReload::Apply(const ReloadMessage& message, Plan plan) {
  if (auto done = services_.secrets.Redeclare(plan.engine->secrets(), std::move(plan.values));
      !done) {
    return tl::unexpected(std::move(done).error());
  }
  for (const auto& name : plan.gone) services_.forget(name);
  for (const SecretSpec& spec : plan.engine->secrets()) {
    const std::string* placeholder = services_.secrets.PlaceholderOf(spec.name);
    if (placeholder != nullptr) plan.engine->SetPlaceholder(spec.name, *placeholder);
  }
  services_.launch.policy_text = message.text;
  services_.launch.policy_name = message.name;
  services_.launch.policy_folder = message.folder;
  const size_t cut =
      services_.in_force([this, &plan] { services_.engine.Replace(std::move(plan.engine)); });
  return "generation " + std::to_string(services_.engine.generation()) +
         " of the policy is in force; " + std::to_string(cut) +
         (cut == 1 ? " connection was" : " connections were") + " cut";
}

}  // namespace sallyport::runtime
