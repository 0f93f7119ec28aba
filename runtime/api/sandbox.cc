// Starting a sandbox, as steps:
//
//     WaitingWarden -> LoadPolicy -> Resolvers, Mounts -> CheckPaths -> Roots, Ports -> OpenAudit -> Masks
//         -> Values -> Launch
//
// The warden comes first, because its start takes as long as all the rest, and waits for its message.
// All files are read here, with the user's own rights. The warden gets bytes and descriptors.

#include "runtime/api/sandbox.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/ip_address.h"
#include "policy/engine.h"
#include "runtime/api/files.h"
#include "runtime/api/host_paths.h"
#include "runtime/api/host_resolvers.h"
#include "runtime/api/outlets.h"
#include "runtime/api/policy_file.h"
#include "runtime/api/policy_tools.h"
#include "runtime/api/ports.h"
#include "runtime/warden/control_message.h"
#include "runtime/warden/launch.h"

namespace sallyport {

namespace {

using policy::Engine;
using runtime::Launch;

constexpr size_t kMaxRoots = 16 * 1024 * 1024;
constexpr size_t kMaxTemplates = 1024 * 1024;  // All together: they go to the guest in one message.

struct LoadedPolicy {
  Engine::Source source;
  std::unique_ptr<Engine> engine;
  std::vector<std::string> warnings;
};

/// A profile shows the current folder to the guest. That must not be the user's whole home.
Status CheckProfileFolder(const std::filesystem::path& folder) {
  const char* home = std::getenv("HOME");
  std::error_code error;
  const auto real_home = std::filesystem::weakly_canonical(home == nullptr ? "" : home, error);
  const auto real = std::filesystem::weakly_canonical(folder, error);
  const auto below = real_home.lexically_relative(real);  // "." or "a/b" when it lies within REAL.
  const bool holds_home = home != nullptr && *home == '/' && !below.empty() && *below.begin() != "..";
  if (!holds_home && real != "/") return {};
  return Fail(Code::kInvalid, "a profile shows the current folder inside, and " + real.string() +
                                  " holds your home or is it; go to a project's folder");
}

Result<LoadedPolicy> LoadPolicy(const SandboxConfig& config) {
  LoadedPolicy policy;
  policy.source.name = "(no policy)";
  policy.source.folder = std::filesystem::current_path();
  if (config.profile) {
    if (config.policy_file) return Fail(Code::kInvalid, "a policy file and a profile exclude each other");
    auto text = ProfileText(*config.profile);
    if (!text) return tl::unexpected(std::move(text).error());
    policy.source.text = *std::move(text);
    policy.source.name = "profile-" + *config.profile;
    if (auto fits = CheckProfileFolder(policy.source.folder); !fits) {
      return tl::unexpected(std::move(fits).error());
    }
  }
  if (config.policy_file) {
    auto source = ReadGivenPolicy(*config.policy_file);
    if (!source) return tl::unexpected(std::move(source).error());
    policy.source = *std::move(source);
  }
  auto loaded = Engine::Load(policy.source);
  std::string errors;
  for (const auto& diagnostic : loaded.diagnostics) {
    if (diagnostic.severity != policy::Diagnostic::Severity::kWarning) {
      errors += (errors.empty() ? "" : "\n") + diagnostic.ToString();
    } else if (!config.profile) {  // What a profile allows was asked for by its name.
      policy.warnings.push_back(diagnostic.ToString());
    }
  }
  if (!loaded.engine) return Fail(Code::kInvalid, std::move(errors));
  policy.engine = std::move(loaded.engine);
  return policy;
}

Result<std::vector<std::string>> Resolvers(const SandboxConfig& config, const Engine& engine) {
  std::vector<std::string> resolvers;
  for (const auto& text : config.resolvers) {
    const auto endpoint = Endpoint::Parse(text, 53);
    if (!endpoint) {
      return Fail(Code::kInvalid, "resolver '" + text + "' is not an address; write 192.0.2.1 or 192.0.2.1:53");
    }
    resolvers.push_back(endpoint->ToString());
  }
  if (!resolvers.empty()) return resolvers;
  for (const auto& endpoint : engine.dns().resolvers) resolvers.push_back(endpoint.ToString());
  if (!resolvers.empty()) return resolvers;
  for (const auto& endpoint : HostResolvers()) resolvers.push_back(endpoint.ToString());
  return resolvers;
}

/// Reads templates, which must not land in a mount: they would be written to the host.
Status AddTemplates(const Engine& engine, Launch& launch) {
  size_t size = 0;
  for (const auto& file : engine.sandbox().mounts) {
    if (!file.is_template) continue;
    for (const auto& mount : launch.mounts) {
      if (!(file.target + "/").starts_with(mount.target + "/")) continue;
      return Fail(Code::kInvalid, "the template '" + file.target + "' would be written into the mount '" +
                                      mount.target + "', and so to the host; choose another path");
    }
    auto text = ReadFile(file.source, kMaxTemplates);
    if (!text) return tl::unexpected(std::move(text).error().In("template"));
    size += text->size();
    if (size > kMaxTemplates) {
      return Fail(Code::kLimit, "the templates are larger than 1 MiB together");
    }
    launch.templates.emplace_back(file.target, *std::move(text));
  }
  return {};
}

Status AddMounts(const SandboxConfig& config, const Engine& engine, Launch& launch) {
  std::vector<SandboxConfig::Mount> mounts;
  for (const auto& mount : engine.sandbox().mounts) {
    if (!mount.is_template) mounts.push_back({mount.source, mount.target, mount.writable});
  }
  mounts.insert(mounts.end(), config.mounts.begin(), config.mounts.end());
  for (const auto& mount : mounts) {
    auto source = ResolvePath(mount.source);
    if (!source) return tl::unexpected(std::move(source).error().In("mount"));
    if (mount.target.empty() || mount.target.front() != '/') {
      return Fail(Code::kInvalid, "mount target '" + mount.target + "' is not an absolute path");
    }
    launch.mounts.push_back({*std::move(source), mount.target, mount.writable});
  }
  return AddTemplates(engine, launch);
}

Status AddRoots(const SandboxConfig& config, const Engine& engine, Launch& launch) {
  std::vector<std::string> files = engine.upstream().ca_files;
  files.insert(files.end(), config.upstream_roots.begin(), config.upstream_roots.end());
  for (const auto& file : files) {
    auto pem = ReadFile(file, kMaxRoots);
    if (!pem) return tl::unexpected(std::move(pem).error());
    launch.extra_roots.emplace_back(file, *std::move(pem));
  }
  for (const auto& server : engine.upstream().servers) {
    std::vector<std::string> needed = server.ca_files;
    if (server.client_cert) needed.push_back(server.client_cert->cert_file);
    for (const auto& file : needed) {
      auto pem = ReadFile(file, kMaxRoots);
      if (!pem) return tl::unexpected(std::move(pem).error().In(server.declared_at + ": upstream"));
      launch.server_files.emplace_back(file, *std::move(pem));
    }
  }
  return {};
}

/// What the parent proxy is read from.
std::vector<SecretSource> ProxySources(const Engine& engine) {
  const auto& proxy = engine.upstream().proxy;
  return proxy ? proxy->Sources() : std::vector<SecretSource>();
}

/// What this host obeys must be out of the sandbox's reach. Comes before anything of it is run,
/// made or written to.
Status CheckPaths(const SandboxConfig& config, const Engine& engine, const Helpers& helpers,
                  const std::vector<SecretSource>& outlets, const Launch& launch) {
  const std::string here = std::filesystem::current_path();
  std::vector<HostPath> paths;
  const auto add = [&](const char* what, const std::string& path) {
    paths.push_back({.what = what, .path = path, .folder = here});
  };
  if (config.policy_file) add("the policy", *config.policy_file);
  if (config.audit_file) add("the audit log", *config.audit_file);
  if (const auto state = StateFolder()) add("the state folder", *state);
  if (config.pcap_file) add("the capture", *config.pcap_file);
  for (const auto& file : config.upstream_roots) add("the certificates", file);
  for (const auto& program : {helpers.warden, helpers.agent, helpers.broker}) {
    add("the program", program);
  }
  add("the program", "/proc/self/exe");
  for (const auto& source : outlets) AddSource("approvals or telemetry", source, paths);
  for (auto& path : PathsOf(engine)) paths.push_back(std::move(path));
  for (const auto& mount : config.mounts) {
    paths.push_back({.what = "the mount's source",
                     .path = mount.source,
                     .folder = here,
                     .use = HostPath::Use::kShown});
  }
  std::vector<HostMount> mounts;
  for (const auto& mount : launch.mounts) mounts.push_back({mount.source, mount.writable});
  return CheckHostPaths(paths, mounts);
}

/// What no mount may show, whatever the policy says. Masks are for what may be read-only in the
/// sandbox: what it could write to is refused (CheckPaths), as a mask over a file does not hold
/// the folder around it.
void AddMasks(const SandboxConfig& config, const Engine& engine,
              const std::vector<SecretSource>& outlets, const std::string& audit_file,
              Launch& launch) {
  const auto add = [&](const std::string& path) {
    if (auto resolved = ResolvePath(path)) launch.masked.push_back(*std::move(resolved));
  };
  if (config.policy_file) add(*config.policy_file);
  for (const auto& file : engine.upstream().ca_files) add(file);
  for (const auto& server : engine.upstream().servers) {
    for (const auto& file : server.ca_files) add(file);
    if (!server.client_cert) continue;
    add(server.client_cert->cert_file);
    add(server.client_cert->key_file);
  }
  std::vector<SecretSource> sources = ProxySources(engine);
  for (const auto& secret : engine.secrets()) sources.push_back(secret.source);
  sources.insert(sources.end(), outlets.begin(), outlets.end());
  for (const auto& source : sources) {
    VisitPlainSources(source, [&](const PlainSource& plain) {
      if (const auto* file = std::get_if<FileSource>(&plain)) add(file->path);
    });
  }
  add(audit_file);
  if (config.pcap_file) add(*config.pcap_file);
  const auto state = StateFolder();
  if (!state) return;
  // Where it does not exist yet, a mount that would show it once it does is refused.
  const auto resolved = ResolvePath(*state);
  launch.masked.push_back(
      resolved ? *resolved : std::filesystem::path(*state).lexically_normal().string());
}

/// The variables that SOURCES need: those that an `env` names, and the whole environment where there is
/// a `command`, which runs as if the user had run it.
std::vector<std::pair<std::string, std::string>> VariablesFor(const std::vector<SecretSource>& sources) {
  std::vector<std::string> names;
  bool all = false;
  for (const auto& source : sources) {
    VisitPlainSources(source, [&](const PlainSource& plain) {
      if (const auto* env = std::get_if<EnvSource>(&plain)) names.push_back(env->variable);
      all |= std::holds_alternative<CommandSource>(plain);
    });
  }
  std::vector<std::pair<std::string, std::string>> values;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == text.npos) continue;
    const std::string name(text.substr(0, equals));
    if (all || std::find(names.begin(), names.end(), name) != names.end()) {
      values.emplace_back(name, text.substr(equals + 1));
    }
  }
  return values;
}

/// The variables that SOURCES need, read from this process's environment into a pipe
/// that only the broker reads.
Result<UniqueFd> Values(const std::vector<SecretSource>& sources) {
  auto values = VariablesFor(sources);
  std::string bytes = runtime::EncodeValues(values);
  for (auto& [name, value] : values) explicit_bzero(value.data(), value.size());
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return tl::unexpected(Error::FromErrno("pipe2"));
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  // The whole must fit into the pipe: nobody reads yet.
  if (bytes.size() > 60 * 1024 &&
      fcntl(write_end.get(), F_SETPIPE_SZ, static_cast<int>(bytes.size() + 4096)) < 0) {
    return tl::unexpected(Error::FromErrno("the values of the secrets are too large for a pipe"));
  }
  const ssize_t written = write(write_end.get(), bytes.data(), bytes.size());
  const bool whole = written == static_cast<ssize_t>(bytes.size());
  explicit_bzero(bytes.data(), bytes.size());
  if (!whole) return tl::unexpected(Error::FromErrno("passing the values of the secrets"));
  return read_end;
}

Result<std::string> AuditPath(const SandboxConfig& config) {
  if (config.audit_file) return *config.audit_file;
  auto folder = StateFolder();
  if (!folder) return tl::unexpected(std::move(folder).error().In("audit log"));
  if (auto status = MakeFolders(*folder); !status) return tl::unexpected(std::move(status).error());
  return *folder + "/audit.jsonl";
}

/// The file for `--pcap`, empty and for the user alone; none where none is asked for.
Result<UniqueFd> OpenCapture(const SandboxConfig& config, const Launch& launch) {
  if (!config.pcap_file) return UniqueFd();
  const std::string what = "--pcap " + *config.pcap_file;
  if (!launch.network) return Fail(Code::kInvalid, what + ": a sandbox without a network has no frames");
  // Without O_TRUNC: a file that is refused stays as it is. Non-blocking, because a FIFO would wait.
  UniqueFd file(open(config.pcap_file->c_str(),
                     O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  struct stat info {};
  if (!file.valid() || fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno(what));
  // A reader that is slow would hold up the gate.
  if (!S_ISREG(info.st_mode)) return Fail(Code::kInvalid, what + ": not a regular file");
  if (fchmod(file.get(), 0600) != 0 || ftruncate(file.get(), 0) != 0) {
    return tl::unexpected(Error::FromErrno(what));
  }
  return file;
}

/// Hidden from a sandbox that sees its folder is the one file that is there at the start.
AuditFile::Rotates RotatesFor(const std::string& path, const Launch& launch) {
  const auto folder = ResolvePath(std::filesystem::absolute(path).parent_path());
  if (!folder) return AuditFile::Rotates::kNo;
  const auto state = StateFolder();
  if (state && *folder == *state) return AuditFile::Rotates::kYes;  // Hidden as a whole.
  for (const auto& mount : launch.mounts) {
    const std::string below = mount.source == "/" ? "/" : mount.source + "/";
    if ((*folder + "/").starts_with(below)) return AuditFile::Rotates::kNo;
  }
  return AuditFile::Rotates::kYes;
}

/// What the policy asks for and this backend doesn't give. None of it isolates, so it is said and not
/// refused.
void WarnOfUnused(const policy::SandboxOptions& asked, std::vector<std::string>& warnings) {
  const auto warn = [&](const char* field, const char* why) {
    warnings.push_back(std::string("warning: sandbox { ") + field + " } has no effect in namespaces: " + why);
  };
  if (asked.image) warn("image", "programs are the host's own");
  if (asked.cpus) warn("cpus", "limit the sandbox from outside, as with systemd-run -p CPUQuota=200%");
  if (asked.memory) warn("memory", "limit the sandbox from outside, as with systemd-run -p MemoryMax=2G");
}

/// Not all that git obeys in a work tree can be kept from who may write there.
void WarnOfWorkTrees(const Launch& launch, std::vector<std::string>& warnings) {
  for (const auto& mount : launch.mounts) {
    struct stat info {};
    if (!mount.writable || lstat((mount.source + "/.git").c_str(), &info) != 0) continue;
    warnings.push_back("warning: " + mount.source +
                       " is a git work tree that the sandbox may write to: git on this host may run "
                       "what the sandbox leaves there; run git on it in a sandbox, too (docs/threat-model.md)");
  }
}

}  // namespace

Result<Sandbox> Sandbox::Start(const SandboxConfig& config) {
  auto warden = WaitingWarden::Start();
  if (!warden) return tl::unexpected(std::move(warden).error());
  return Start(config, *std::move(warden));
}

Result<Sandbox> Sandbox::Start(const SandboxConfig& config, WaitingWarden warden) {
  auto policy = LoadPolicy(config);
  if (!policy) return tl::unexpected(std::move(policy).error());
  Engine& engine = *policy->engine;
  if (engine.sandbox().isolation == "vm") {
    return Fail(Code::kUnsupported,
                "the policy asks for isolation = \"vm\", which this version can't give; it is never "
                "replaced by less. Remove the field to run in namespaces, which share the host's kernel.");
  }

  Launch launch;
  launch.sandbox = NewSandboxId();
  launch.owner = geteuid();
  launch.policy_text = policy->source.text;
  launch.policy_name = policy->source.name;
  launch.policy_folder = policy->source.folder;
  launch.hostname = config.hostname.value_or(engine.sandbox().hostname.value_or("sandbox"));
  launch.learn = config.learn;
  launch.network = !config.no_network && engine.sandbox().network;
  launch.timeout = config.timeout.value_or(
      engine.sandbox().timeout.value_or(std::chrono::milliseconds(0)));
  std::vector<SecretSource> sources;
  for (const auto& secret : engine.secrets()) sources.push_back(secret.source);
  for (const auto& secret : config.secrets) {
    launch.secrets.push_back({secret.name, secret.hosts});
    sources.emplace_back(EnvSource{secret.name});
  }
  for (auto& source : ProxySources(engine)) sources.push_back(std::move(source));
  if (auto added = AddOutlets(config, launch); !added) {
    return tl::unexpected(std::move(added).error());
  }
  const auto outlets = OutletSources(engine, launch);
  sources.insert(sources.end(), outlets.begin(), outlets.end());
  auto resolvers = Resolvers(config, engine);
  if (!resolvers) return tl::unexpected(std::move(resolvers).error());
  launch.resolvers = *std::move(resolvers);
  if (auto status = AddMounts(config, engine, launch); !status) {
    return tl::unexpected(std::move(status).error());
  }
  if (auto status = CheckPaths(config, engine, warden.helpers(), outlets, launch); !status) {
    return tl::unexpected(std::move(status).error());
  }
  if (auto status = AddRoots(config, engine, launch); !status) {
    return tl::unexpected(std::move(status).error());
  }

  Sandbox sandbox;
  auto sockets = BindPorts(config.ports, sandbox.ports);
  if (!sockets) return tl::unexpected(std::move(sockets).error());
  for (const auto& port : sandbox.ports) launch.ports.push_back(port.guest);

  launch.agent_path = warden.helpers().agent;
  launch.broker_path = warden.helpers().broker;

  sandbox.id = launch.sandbox;
  sandbox.warnings = std::move(policy->warnings);
  WarnOfUnused(engine.sandbox(), sandbox.warnings);
  WarnOfWorkTrees(launch, sandbox.warnings);
  sandbox.workdir = engine.sandbox().workdir.value_or("/");
  auto audit_file = AuditPath(config);
  if (!audit_file) return tl::unexpected(std::move(audit_file).error());
  sandbox.audit_file = *std::move(audit_file);
  sandbox.audit.emplace(sandbox.audit_file, RotatesFor(sandbox.audit_file, launch));
  auto audit = sandbox.audit->Open();
  if (!audit) return tl::unexpected(std::move(audit).error());
  auto capture = OpenCapture(config, launch);
  if (!capture) return tl::unexpected(std::move(capture).error());
  AddMasks(config, engine, outlets, sandbox.audit_file, launch);

  auto values = Values(sources);
  if (!values) return tl::unexpected(std::move(values).error());
  auto commands = runtime::ListenForControl(launch.owner, launch.sandbox);
  if (!commands) return tl::unexpected(std::move(commands).error());
  auto launched = std::move(warden).Launch({.launch = std::move(launch),
                                           .audit = *std::move(audit),
                                           .values = *std::move(values),
                                           .commands = *std::move(commands),
                                           .ports = *std::move(sockets),
                                           .capture = *std::move(capture)});
  if (!launched) return tl::unexpected(std::move(launched).error());
  sandbox.control = std::move(launched->control);
  sandbox.warden = launched->pid;
  return sandbox;
}

}  // namespace sallyport
