// What `sandboxctl doctor` says about this host. Everything that can be tried is tried, in a child
// with namespaces of its own: what a kernel was built with says little about what a container or an
// AppArmor profile lets through.

#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <utility>

#include "runtime/backend/namespaces/conversation.h"
#include "runtime/backend/namespaces/devices.h"
#include "runtime/backend/namespaces/files.h"
#include "runtime/backend/namespaces/id_range.h"
#include "runtime/backend/namespaces/namespace_backend.h"
#include "runtime/backend/namespaces/network.h"
#include "runtime/backend/namespaces/process.h"
#include "runtime/backend/namespaces/root_fs.h"

namespace sallyport::runtime {
namespace {

using State = HostCheck::State;

constexpr std::chrono::seconds kProbeTimeout{20};
constexpr const char* kTunNode = "/dev/net/tun";

/// What was opened before the ids changed, as a start does it.
struct Opened {
  Result<UniqueFd> tun;
};

/// One thing to try inside new namespaces.
struct Attempt {
  const char* what;
  Status (*run)(const Opened& opened);
  State if_missing;
  const char* found;
  const char* fix;
};

Status TryTun(const Opened& opened) {
  if (!opened.tun) return tl::unexpected(opened.tun.error());
  return MakeTap(opened.tun->get());
}

Status TryPacketLink(const Opened&) {
  // The TAP before may have taken the name; this namespace is no longer needed with it.
  if (unshare(CLONE_NEWNET) != 0) return tl::unexpected(Error::FromErrno("network namespace"));
  const UniqueFd proc(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto link = MakePacketLink(proc.get());
  if (!link) return tl::unexpected(std::move(link).error());
  return {};
}

Status TryOverlay(const Opened&) {
  auto root = RootFs::Create();
  if (!root) return tl::unexpected(std::move(root).error());
  auto done = root->AddEmptyDirectories();
  if (done) done = root->AddTools({});
  return done;
}

Status TryProc(const Opened&) {
  return MountProc();
}

// In the order in which they are tried; /proc is mounted in the root that TryOverlay made.
constexpr Attempt kAttempts[] = {
    {"tun node", &TryTun, State::kDegraded, "a TAP can be made",
     "chmod 0666 /dev/net/tun (the packet link is used until then)"},
    {"packet link", &TryPacketLink, State::kDegraded, "veth and packet sockets work",
     "modprobe veth af_packet (only needed without a readable tun node)"},
    {"overlay", &TryOverlay, State::kMissing, "the host's tools can be shown",
     "modprobe overlay; in user namespaces it needs Linux 5.11"},
    {"/proc", &TryProc, State::kMissing, "a new /proc can be mounted",
     "in a container: --security-opt systempaths=unconfined, or procMount: Unmasked"},
};

Status BecomeRoot(int control) {
  auto mapped = ReceivePacket(control, std::chrono::steady_clock::now() + kProbeTimeout);
  if (!mapped) return tl::unexpected(std::move(mapped).error());
  if (mapped->kind != Packet::Kind::kMapped) return Fail(Code::kSystem, "no ids");
  if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0) {
    return tl::unexpected(Error::FromErrno("changing ids"));
  }
  return {};
}

[[noreturn]] void RunAttempts(UniqueFd control, uid_t uid, gid_t gid) {
  const Opened opened{OpenTunNode(AT_FDCWD, kTunNode)};
  auto root = uid == 0 ? BecomeRoot(control.get()) : MapOnlyRootTo(uid, gid);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const Attempt& attempt : kAttempts) {
    const Status done = root ? attempt.run(opened) : root;
    const bool told = SendPacket(control.get(), done ? Packet::Kind::kReady : Packet::Kind::kFailed,
                                 done ? "" : done.error().message(), {})
                          .has_value();
    if (!told) break;
  }
  _exit(0);
}

/// As root, gives the child ids and tells it.
Status MapIds(pid_t pid, int control) {
  if (geteuid() != 0) return {};
  // Behind the ranges of sandboxes: nothing of these ids lasts.
  constexpr uid_t kProbeBase = IdRange::kFirst + IdRange::kSlots * IdRange::kCount;
  const std::string proc = "/proc/" + std::to_string(pid) + "/";
  const std::string map = IdMap(0, kProbeBase, IdRange::kCount);
  auto done = WriteFile(proc + "uid_map", map);
  if (done) done = WriteFile(proc + "gid_map", map);
  if (done) done = SendPacket(control, Packet::Kind::kMapped, "", {});
  return done;
}

HostCheck Judge(const Attempt& attempt, const Result<Packet>& answer) {
  if (answer && answer->kind == Packet::Kind::kReady) {
    return {attempt.what, State::kOk, attempt.found, ""};
  }
  std::string why = "could not be tried";
  if (answer && answer->kind == Packet::Kind::kFailed) why = answer->text;
  return {attempt.what, attempt.if_missing, why, attempt.fix};
}

HostCheck NoNamespaces(const Error& error) {
  return {"user namespaces", State::kMissing, error.message(), WhyNamespacesAreForbidden()};
}

void TryNamespaces(std::vector<HostCheck>& checks) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return checks.push_back(NoNamespaces(Error::FromErrno("socketpair")));
  }
  UniqueFd ours(fds[0]);
  UniqueFd theirs(fds[1]);
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  auto child = CloneInto(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                         CLONE_NEWUTS | CLONE_NEWCGROUP);
  if (!child) return checks.push_back(NoNamespaces(child.error()));
  if (child->pid() == 0) {
    ours.reset();
    RunAttempts(std::move(theirs), uid, gid);
  }
  theirs.reset();
  auto mapped = MapIds(child->pid(), ours.get());
  if (!mapped) return checks.push_back(NoNamespaces(mapped.error()));
  checks.push_back({"user namespaces", State::kOk, "all seven kinds can be made", ""});
  const auto deadline = std::chrono::steady_clock::now() + kProbeTimeout;
  for (const Attempt& attempt : kAttempts) {
    checks.push_back(Judge(attempt, ReceivePacket(ours.get(), deadline)));
  }
}

HostCheck CheckKernel() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) {
    return {"kernel", State::kDegraded, "unknown version", ""};
  }
  const int version = major * 1000 + minor;
  const std::string release = std::string("Linux ") + name.release;
  if (version < 5012) {
    return {"kernel", State::kMissing, release, "install Linux 5.12 or later (6.6 is best)"};
  }
  if (version < 5019 && geteuid() == 0) {
    return {"kernel", State::kDegraded, release + ": guest root can't change the host's tools",
            "install Linux 5.19 or later (6.6 is best)"};
  }
  return {"kernel", State::kOk, release, ""};
}

HostCheck CheckAppArmor() {
  const auto value = ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
  if (!value || value->starts_with('0')) {
    return {"AppArmor", State::kOk, "does not restrict user namespaces", ""};
  }
  return {"AppArmor", geteuid() == 0 ? State::kOk : State::kDegraded,
          "restricts user namespaces of programs without a profile",
          "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or a profile with `userns,`"};
}

/// This user's name; "" where it is in neither place. Services other than files are not asked: what
/// libc loads for them can't be linked into a program.
std::string UserName() {
  const std::string id = std::to_string(geteuid());
  std::istringstream accounts(ReadFile("/etc/passwd", 1024 * 1024).value_or(""));
  for (std::string line; std::getline(accounts, line);) {
    const size_t name = line.find(':');
    const size_t password = name == std::string::npos ? name : line.find(':', name + 1);
    if (password == std::string::npos) continue;
    if (line.compare(password + 1, id.size() + 1, id + ":") == 0) return line.substr(0, name);
  }
  const char* user = std::getenv("USER");
  return user != nullptr ? user : "";
}

/// Whether a line of /etc/subuid gives this user ids.
bool HasSubordinateIds(const char* file) {
  const auto text = ReadFile(file, 1024 * 1024);
  const std::string name = UserName();
  const std::string id = std::to_string(geteuid());
  for (size_t start = 0; text && start < text->size();) {
    const size_t end = std::min(text->find('\n', start), text->size());
    const std::string owner = text->substr(start, std::min(text->find(':', start), end) - start);
    if (owner == id || (!name.empty() && owner == name)) return true;
    start = end + 1;
  }
  return false;
}

HostCheck CheckSubordinateIds() {
  if (geteuid() == 0) return {"id ranges", State::kOk, "root needs no subordinate ids", ""};
  const bool helper = access("/usr/bin/newuidmap", X_OK) == 0;
  if (helper && HasSubordinateIds("/etc/subuid") && HasSubordinateIds("/etc/subgid")) {
    return {"id ranges", State::kOk, "newuidmap and subordinate ids are there", ""};
  }
  return {"id ranges", State::kDegraded,
          helper ? "this user has no subordinate ids" : "newuidmap is missing",
          helper
              ? "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
              : "apt install uidmap (images with several users need it; the host's tools do not)"};
}

HostCheck CheckCgroups() {
  constexpr const char* kFix =
      "use a systemd session with Delegate=yes, or boot with "
      "systemd.unified_cgroup_hierarchy=1";
  const auto own = ReadFile("/proc/self/cgroup");
  const auto controllers = ReadFile("/sys/fs/cgroup/cgroup.controllers");
  if (!own || !controllers || !own->starts_with("0::")) {
    return {"cgroups", State::kDegraded, "no unified hierarchy; limits are per process", kFix};
  }
  const std::string path = "/sys/fs/cgroup" + own->substr(3, own->find('\n') - 3);
  const auto usable = ReadFile(path + "/cgroup.controllers");
  if (access(path.c_str(), W_OK) != 0 || !usable || usable->find("memory") == std::string::npos ||
      usable->find("pids") == std::string::npos) {
    return {"cgroups", State::kDegraded, "memory and pids are not delegated to us", kFix};
  }
  return {"cgroups", State::kOk, "version 2, delegated", ""};
}

/// Whether the gate's pings, which are for `icmp` rules, get their sockets. A plain user's gate has that
/// user's group; root's has the first id of its sandbox's range.
HostCheck CheckPing() {
  constexpr const char* kFix = "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"";
  bool allowed = false;
  if (geteuid() != 0) {
    const UniqueFd ping(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
    allowed = ping.valid();
  } else {
    std::istringstream range(ReadFile("/proc/sys/net/ipv4/ping_group_range").value_or(""));
    uint64_t first = 1;
    uint64_t last = 0;
    range >> first >> last;
    constexpr uint64_t kLastId = IdRange::kFirst + uint64_t{IdRange::kSlots} * IdRange::kCount - 1;
    allowed = first <= IdRange::kFirst && last >= kLastId;
  }
  if (allowed) return {"ping", State::kOk, "rules for icmp work", ""};
  return {"ping", State::kDegraded, "no ping sockets for the gate: what icmp rules grant is refused",
          kFix};
}

HostCheck CheckLandlock() {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi > 0) return {"Landlock", State::kOk, "ABI " + std::to_string(abi), ""};
  return {"Landlock", State::kDegraded, "not available: one barrier around the warden less",
          "boot with landlock in lsm= (Linux 5.13 or later)"};
}

HostCheck CheckSeccomp() {
  const uint32_t action = SECCOMP_RET_KILL_PROCESS;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
    return {"seccomp", State::kOk, "filters are available", ""};
  }
  return {"seccomp", State::kMissing, Error::FromErrno("seccomp").message(),
          "use a kernel with CONFIG_SECCOMP_FILTER"};
}

HostCheck CheckKvm() {
  const UniqueFd kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) {
    return {"KVM", State::kDegraded, Error::FromErrno("/dev/kvm").message() + ": no microVMs",
            errno == ENOENT ? "load kvm_intel or kvm_amd; in a VM, enable nested virtualisation"
                            : "usermod --append --groups kvm USER"};
  }
  if (ioctl(kvm.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
    return {"KVM", State::kDegraded, "/dev/kvm speaks another version: no microVMs", ""};
  }
  const UniqueFd machine(ioctl(kvm.get(), KVM_CREATE_VM, 0));
  if (!machine.valid()) {
    return {"KVM", State::kDegraded, Error::FromErrno("creating a VM").message() + ": no microVMs",
            "enable virtualisation in the firmware, or nested virtualisation in the host above"};
  }
  return {"KVM", State::kOk, "a VM can be created", ""};
}

}  // namespace

std::vector<HostCheck> CheckNamespaceHost() {
  std::vector<HostCheck> checks;
  checks.push_back(CheckKernel());
  TryNamespaces(checks);
  checks.push_back(CheckAppArmor());
  checks.push_back(CheckSubordinateIds());
  checks.push_back(CheckCgroups());
  checks.push_back(CheckPing());
  checks.push_back(CheckLandlock());
  checks.push_back(CheckSeccomp());
  checks.push_back(CheckKvm());
  return checks;
}

}  // namespace sallyport::runtime
