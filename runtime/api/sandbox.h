#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/api/audit_file.h"
#include "runtime/api/waiting_warden.h"
#include "runtime/warden/published_port.h"

namespace sallyport {

/// What a sandbox is to be. Fields that are set win over the policy's `sandbox { … }` and `dns { … }`.
struct SandboxConfig {
  enum class Backend { kAuto, kNamespace };
  struct Mount {
    std::string source;
    std::string target;
    bool writable = true;
  };
  struct NamedSecret {
    std::string name;                ///< Also the variable of this process that holds the value.
    std::vector<std::string> hosts;  ///< As in the policy language.
  };

  Backend backend = Backend::kAuto;
  std::optional<std::string> policy_file;  ///< None: nothing is granted.
  std::optional<std::string> profile;      ///< A profile's name, instead of a file.
  std::vector<NamedSecret> secrets;
  std::vector<Mount> mounts;
  std::optional<std::string> hostname;
  bool no_network = false;
  std::optional<std::chrono::milliseconds> timeout;
  std::vector<std::string> resolvers;       ///< "ADDR" or "ADDR:PORT".
  std::vector<std::string> upstream_roots;  ///< PEM files.
  std::optional<std::string> audit_file;    ///< None: the state directory's audit.jsonl.
  bool learn = false;  ///< Open: allows what the policy does not cover, for policy_learn.h.
  std::vector<runtime::PublishedPort> ports;  ///< Host port 0: any that is free.
  /// Where the guest's frames are captured (docs/capture.md). What was in the file is lost.
  std::optional<std::string> pcap_file;
  /// A program that answers what `ask` asks (docs/approvals.md); the policy's own command then does not.
  std::optional<std::string> approve_command;
  /// Where telemetry goes (docs/telemetry.md): a collector's URL, or "env" for what the variables
  /// OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS say.
  std::optional<std::string> otlp;
  std::optional<std::string> otlp_headers;  ///< The variable, or "@" and the file, that holds them.
};

/// The program to run in it.
struct Program {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> env;
  std::optional<std::string> workdir;  ///< None: the policy's, else "/".
  bool tty = false;
};

/// A sandbox whose warden has been started: it is on its way up, or has failed and will say so on the
/// control socket. Destroying this ends the sandbox.
struct Sandbox {
  std::string id;
  UniqueFd control;  ///< To the warden; see session.h.
  pid_t warden = -1;
  std::string audit_file;
  std::optional<AuditFile> audit;  ///< The same, to be renewed while the sandbox runs (AuditRenewal).
  std::string workdir;
  std::vector<std::string> warnings;  ///< Of the policy, for people.
  std::vector<runtime::PublishedPort> ports;  ///< As they were bound, in the order of the config's.

  /// Reads the policy, opens what the warden may not open itself, and starts it. kInvalid with every
  /// line that is wrong in the policy; nothing is left of the start then.
  static Result<Sandbox> Start(const SandboxConfig& config);
  /// The same with a warden that was started ahead.
  static Result<Sandbox> Start(const SandboxConfig& config, WaitingWarden warden);
};

}  // namespace sallyport
