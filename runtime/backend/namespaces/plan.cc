#include "runtime/backend/namespaces/plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

#include "runtime/backend/namespaces/files.h"
#include "runtime/backend/namespaces/host_runs.h"

namespace sallyport::runtime {
namespace {

std::string Resolve(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path.c_str(), nullptr),
                                                             &std::free);
  return resolved == nullptr ? "" : resolved.get();
}

/// PATH with everything of it resolved that exists.
std::string ResolveExisting(const std::string& path) {
  std::string rest;
  std::string head = path;
  while (!head.empty() && head != "/") {
    const std::string resolved = Resolve(head);
    if (!resolved.empty()) return resolved == "/" ? rest : resolved + rest;
    const size_t slash = head.rfind('/');
    rest.insert(0, head.substr(slash));
    head.resize(slash);
  }
  return path;
}

/// Absolute, without "." or ".." or empty parts, and not the root.
bool IsCleanPath(const std::string& path) {
  if (path.size() < 2 || path[0] != '/' || path.size() >= PATH_MAX) return false;
  for (size_t start = 1; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return path.find('\0') == std::string::npos;
}

Status CheckTarget(const std::string& target) {
  if (!IsCleanPath(target)) {
    return Fail(Code::kInvalid, "mount target " + target +
                                    " must be an absolute path below / without \".\" or \"..\"");
  }
  for (const char* taken : {"/proc", "/sys", "/dev"}) {
    if (IsWithin(target, taken)) {
      return Fail(Code::kInvalid, "mount target " + target + " lies in " + taken +
                                      ", which belongs to the sandbox");
    }
  }
  return {};
}

Status CheckSource(const std::string& source, const struct stat& info) {
  if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) {
    return Fail(Code::kInvalid, "mount source " + source +
                                    " is neither a directory nor a file; a socket or a device "
                                    "would be a way around the gate");
  }
  // /run holds the sockets of the host's services: connecting to one works through any mount.
  for (const char* kept : {"/proc", "/sys", "/dev", "/run"}) {
    if (IsWithin(source, kept) && (source == kept || std::string_view(kept) != "/run")) {
      return Fail(Code::kDenied, "mount source " + source + " would show " + kept + " of the host");
    }
  }
  if (source == "/") return Fail(Code::kDenied, "mounting the host's / would show all of it");
  return {};
}

Status HideIn(Plan::Mount& mount, const std::vector<std::string>& masked) {
  for (const std::string& path : masked) {
    if (IsWithin(mount.source, path)) {
      return Fail(Code::kDenied, "mount source " + mount.source + " lies in " + path +
                                     ", which no sandbox may see");
    }
    if (!IsWithin(path, mount.source)) continue;
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) {
      return Fail(Code::kDenied, "mount source " + mount.source + " would show " + path +
                                     " as soon as it exists; create it, so that it can be hidden");
    }
    mount.hidden.push_back(path.substr(mount.source.size() + 1));
  }
  return {};
}

Result<Plan::Mount> PlanMount(const WorkloadSpec::Mount& asked,
                              const std::vector<std::string>& masked) {
  auto possible = CheckTarget(asked.target);
  if (!possible) return tl::unexpected(std::move(possible).error());
  Plan::Mount mount;
  mount.target = asked.target;
  mount.writable = asked.writable;
  mount.source = asked.source.starts_with('/') ? Resolve(asked.source) : "";
  struct stat info;
  if (mount.source.empty() || stat(mount.source.c_str(), &info) != 0) {
    return Fail(Code::kNotFound,
                "mount source " + asked.source + ": " +
                    (asked.source.starts_with('/') ? "does not exist or can't be reached"
                                                   : "must be an absolute path"));
  }
  possible = CheckSource(mount.source, info);
  if (possible) possible = HideIn(mount, masked);
  if (!possible) return tl::unexpected(std::move(possible).error());
  mount.directory = S_ISDIR(info.st_mode);
  mount.owner = info.st_uid;
  mount.group = info.st_gid;
  if (!mount.writable || !mount.directory) return mount;
  auto host_runs = FindWhatHostRuns(mount.source);
  if (!host_runs) return tl::unexpected(std::move(host_runs).error().In(mount.source));
  mount.host_runs = std::move(*host_runs);
  return mount;
}

}  // namespace

Result<Plan> MakePlan(const WorkloadSpec& spec) {
  if (spec.mounts.size() > kMaxMounts) {
    return Fail(Code::kLimit, "more than " + std::to_string(kMaxMounts) + " mounts");
  }
  // 64 is the kernel's limit; the rest keeps /etc/hosts one line.
  constexpr const char* kHostnameBytes =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
  if (spec.hostname.empty() || spec.hostname.size() > 64 ||
      spec.hostname.find_first_not_of(kHostnameBytes) != std::string::npos) {
    return Fail(Code::kInvalid, "\"" + spec.hostname + "\" is not a host name");
  }
  Plan plan;
  plan.hostname = spec.hostname;
  plan.network = spec.network;
  const std::string agent = Resolve(spec.agent_path);
  plan.agent_path = agent.empty() ? spec.agent_path : agent;
  for (const std::string& path : spec.masked) {
    const std::string resolved = ResolveExisting(path);
    if (!IsCleanPath(resolved)) return Fail(Code::kInvalid, "\"" + path + "\" can't be hidden");
    plan.masked.push_back(resolved);
  }
  for (const WorkloadSpec::Mount& asked : spec.mounts) {
    auto mount = PlanMount(asked, plan.masked);
    if (!mount) return tl::unexpected(std::move(mount).error());
    plan.mounts.push_back(std::move(*mount));
  }
  return plan;
}

}  // namespace sallyport::runtime
