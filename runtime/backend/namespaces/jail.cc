// Entering the jail: what the sandbox's first process does between clone and becoming the agent. It
// runs our own code on the host's data; the guest's first instruction comes after the last step.
//
// Each step either succeeds or ends the start: the launcher is told which step, and why. Nothing
// has to be undone, as everything that was made belongs to namespaces that end with this process.

#include "runtime/backend/namespaces/jail.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <latch>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/backend/namespaces/capabilities.h"
#include "runtime/backend/namespaces/conversation.h"
#include "runtime/backend/namespaces/devices.h"
#include "runtime/backend/namespaces/files.h"
#include "runtime/backend/namespaces/id_range.h"
#include "runtime/backend/namespaces/mounts.h"
#include "runtime/backend/namespaces/network_thread.h"
#include "runtime/backend/namespaces/plan.h"
#include "runtime/backend/namespaces/root_fs.h"
#include "runtime/backend/namespaces/settings.h"

namespace sallyport::runtime {
namespace {

constexpr int kAgentSocket = 3;  // Where the agent looks for it.
// The launcher's own deadline ends us sooner.
constexpr std::chrono::seconds kLauncherTimeout{30};
// The owner may take its time to say what it wants; the launcher's end is seen at once.
constexpr std::chrono::hours kOwnerTimeout{24};
// kMaxMounts with their two paths, and what is hidden.
constexpr size_t kMaxPlan = size_t{16} << 20;
// A sandbox's processes and files, where no cgroup says less. They bound it, they don't share out.
constexpr rlim_t kMaxProcesses = 16384;
constexpr rlim_t kMaxFiles = 65536;
constexpr rlim_t kSoftFiles = 1024;  // What programs that use select() count on.

class Jail {
 public:
  explicit Jail(JailInput input) : in_(std::move(input)) {}

  [[noreturn]] void Enter();

 private:
  struct Step {
    const char* name;  // Completes "…: what went wrong".
    Status (Jail::*run)();
  };
  static const Step kSteps[];

  Status StartNetwork() { return network_.Start(); }
  Status BecomeRoot();
  Status TieToLauncher();
  Status StartRoot();
  Status AddTools();
  Status AddEtc() { return AddSettings(*root_); }
  Status AddTrustOnce();
  Status AddProc() { return MountProc(); }
  Status JoinNetwork() { return network_.Join(); }
  Status SetLimits();
  Status GuardProc();
  Status AddDevices() { return AddDev(*root_); }
  Status AddSysfs() { return AddSys(); }
  Status OpenAgent();
  Status SetNames();
  Status AddUserMounts();
  Status LeaveHost();
  Status ReportReady();
  Status DropPrivileges();
  Status KeepOnlyOurFds();
  Status BecomeAgent();

  Result<bool> TrustAndPlan();
  Status ReceivePlan();
  Result<Packet> Expect(Packet::Kind kind, std::chrono::seconds timeout = kLauncherTimeout) const;

  JailInput in_;
  Plan plan_;
  UniqueFd agent_program_;
  std::optional<RootFs> root_;
  UniqueFd proc_sys_;  // Ours, writable.
  std::vector<UniqueFd> mount_trees_;
  std::latch directories_made_{1};  // And the tools received, behind which the plan comes.
  std::atomic_flag trust_taken_;    // By the thread that comes to it first.
  NetworkThread network_{in_.options, [this] { return TrustAndPlan(); }};
};

const Jail::Step Jail::kSteps[] = {
    // Still with the launcher's id, which the tun node may ask for.
    {"starting on the network", &Jail::StartNetwork},
    {"becoming root inside", &Jail::BecomeRoot},
    // After the last change of ids, which would undo it.
    {"tying the sandbox's life to ours", &Jail::TieToLauncher},
    {"making a root file system", &Jail::StartRoot},
    {"showing the host's tools", &Jail::AddTools},
    {"making /etc", &Jail::AddEtc},
    {"mounting /proc", &Jail::AddProc},
    {"protecting /proc", &Jail::GuardProc},
    {"making /dev", &Jail::AddDevices},
    {"adding CA certificates", &Jail::AddTrustOnce},
    // All before is the same in every sandbox, so it is done while the launcher still reads what
    // this one is to be. Here the network's namespace is entered, to which settings below /proc/sys
    // and what /sys shows belong; before, they would be the host's.
    {"bringing up the network", &Jail::JoinNetwork},
    {"setting limits", &Jail::SetLimits},
    {"mounting /sys", &Jail::AddSysfs},
    {"opening the agent", &Jail::OpenAgent},
    {"setting names", &Jail::SetNames},
    {"mounting", &Jail::AddUserMounts},
    {"leaving the host's root", &Jail::LeaveHost},
    {"dropping privileges", &Jail::DropPrivileges},
    {"reporting", &Jail::ReportReady},
    {"closing descriptors", &Jail::KeepOnlyOurFds},
    {"starting the agent", &Jail::BecomeAgent},
};

void Jail::Enter() {
  for (const Step& step : kSteps) {
    auto done = (this->*step.run)();
    if (done) continue;
    const Error error = std::move(done).error().In(step.name);
    (void)SendPacket(in_.control.get(), Packet::Kind::kFailed, EncodeError(error), {}).has_value();
    break;
  }
  _exit(1);
}

Result<Packet> Jail::Expect(Packet::Kind kind, std::chrono::seconds timeout) const {
  auto received = ReceivePacket(in_.control.get(), std::chrono::steady_clock::now() + timeout);
  if (received && received->kind != kind) return Fail(Code::kSystem, "the launcher is gone");
  return received;
}

/// Of the calling thread; the C library would change those of all threads.
Status TakeRootsIds() {
  if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, 0, 0, 0) != 0 ||
      syscall(SYS_setresuid, 0, 0, 0) != 0) {
    return tl::unexpected(Error::FromErrno("changing ids"));
  }
  return {};
}

Status Jail::BecomeRoot() {
  if (!in_.root) return MapOnlyRootTo(in_.outer_uid, in_.outer_gid);
  if (auto mapped = Expect(Packet::Kind::kMapped); !mapped) {
    return tl::unexpected(std::move(mapped).error());
  }
  return TakeRootsIds();
}

Status Jail::TieToLauncher() {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return tl::unexpected(Error::FromErrno("prctl"));
  // A launcher that died before that line has closed its end.
  pollfd control{in_.control.get(), 0, 0};
  if (poll(&control, 1, 0) < 0 || (control.revents & (POLLHUP | POLLERR)) != 0) {
    return Fail(Code::kSystem, "the launcher is gone");
  }
  umask(022);
  setsid();  // No terminal of the host.
  return {};
}

Status Jail::StartRoot() {
  auto root = RootFs::Create();
  if (!root) return tl::unexpected(std::move(root).error());
  root_.emplace(std::move(*root));
  return {};
}

/// As root, the launcher has been cloning them while we made the root.
Status Jail::AddTools() {
  std::vector<ToolTree> tools;
  if (in_.root) {
    auto packet = Expect(Packet::Kind::kTools);
    if (!packet) return tl::unexpected(std::move(packet).error());
    size_t start = 0;
    for (UniqueFd& tree : packet->fds) {
      const size_t end = packet->text.find('\n', start);
      tools.push_back({packet->text.substr(start, end - start), std::move(tree)});
      start = end + 1;
    }
  }
  auto done = root_->AddTools(std::move(tools));
  if (done) done = root_->AddEmptyDirectories();
  if (done) directories_made_.count_down();
  return done;
}

/// What is set below still goes through our own /proc as it is now: a container may have its
/// /proc/sys read-only, as ours is from here on.
Status Jail::GuardProc() {
  proc_sys_ = UniqueFd(open("/new/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_sys_.valid()) return tl::unexpected(Error::FromErrno("/proc/sys"));
  return ProtectProc();
}

Status Jail::SetLimits() {
  auto done = WriteFile("user/max_user_namespaces", "0", proc_sys_.get());
  // ping without a raw socket, for each group that exists inside.
  if (done) {
    done =
        WriteFile("net/ipv4/ping_group_range",
                  in_.root ? "0 " + std::to_string(IdRange::kCount - 1) : "0 0", proc_sys_.get());
  }
  // There is no congestion between the guest and its gate. A host's BBR would measure and pace
  // there all the same, with a timer for each burst: twice the processor time of a bulk transfer. A
  // kernel that has this setting for the whole machine only keeps its own.
  static_cast<void>(WriteFile("net/ipv4/tcp_congestion_control", "reno", proc_sys_.get()));
  proc_sys_.reset();
  return done;
}

/// The network's thread does it while the kernel's locks leave it the time; where that comes late,
/// as on a machine with few processors, it would be waited for.
Status Jail::AddTrustOnce() {
  return trust_taken_.test_and_set() ? Status() : AddTrust(*root_);
}

/// In the network thread: what else takes long, then whether there is to be a network.
Result<bool> Jail::TrustAndPlan() {
  directories_made_.wait();
  auto ids = in_.root ? TakeRootsIds() : Status();
  if (!ids) return tl::unexpected(std::move(ids).error());
  auto trust = AddTrustOnce();
  if (!trust) return tl::unexpected(std::move(trust).error().In("adding CA certificates"));
  auto received = ReceivePlan();
  if (!received) return tl::unexpected(std::move(received).error());
  return plan_.network;
}

Status Jail::ReceivePlan() {
  auto packet = Expect(Packet::Kind::kPlan, kOwnerTimeout);
  if (!packet) return tl::unexpected(std::move(packet).error());
  const ptrdiff_t before_mounts = in_.root ? 2 : 1;
  if (std::ssize(packet->fds) < before_mounts) return Fail(Code::kSystem, "the plan is missing");
  auto bytes = ReadAll(packet->fds[0].get(), kMaxPlan);
  if (!bytes) return tl::unexpected(std::move(bytes).error());
  auto plan = DecodePlan(*bytes);
  if (!plan) return tl::unexpected(std::move(plan).error());
  plan_ = std::move(*plan);
  if (!in_.root) return {};
  agent_program_ = std::move(packet->fds[1]);
  mount_trees_.assign(std::make_move_iterator(packet->fds.begin() + before_mounts),
                      std::make_move_iterator(packet->fds.end()));
  if (mount_trees_.size() != plan_.mounts.size()) {
    return Fail(Code::kSystem, "mounts are missing");
  }
  return {};
}

/// A plain user's agent may belong to the same id as the guest's root. Executed from a read-only
/// mount, its file can't be opened for writing through /proc/1/exe.
Status Jail::OpenAgent() {
  if (in_.root) return {};
  const UniqueFd tree(open_tree(AT_FDCWD, ("/oldroot" + plan_.agent_path).c_str(),
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (!tree.valid() ||
      mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
    return tl::unexpected(Error::FromErrno(plan_.agent_path));
  }
  const std::string path = "/oldroot/proc/self/fd/" + std::to_string(tree.get());
  agent_program_ = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!agent_program_.valid()) return tl::unexpected(Error::FromErrno(plan_.agent_path));
  return {};
}

Status Jail::SetNames() {
  if (sethostname(plan_.hostname.data(), plan_.hostname.size()) != 0) {
    return tl::unexpected(Error::FromErrno("hostname"));
  }
  return AddNames(*root_, plan_.hostname, plan_.network);
}

Status Jail::AddUserMounts() {
  auto done = HideMasked(*root_, plan_);
  if (done) done = AddMounts(*root_, plan_, std::move(mount_trees_));
  return done;
}

Status Jail::LeaveHost() {
  return root_->Leave();
}

Status SetLimit(__rlimit_resource_t resource, rlim_t soft, rlim_t hard) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return tl::unexpected(Error::FromErrno("getrlimit"));
  limit.rlim_max = std::min(limit.rlim_max, hard);
  limit.rlim_cur = std::min(limit.rlim_max, soft);
  if (setrlimit(resource, &limit) != 0) return tl::unexpected(Error::FromErrno("setrlimit"));
  return {};
}

Status Jail::DropPrivileges() {
  auto done = SetLimit(RLIMIT_CORE, 0, 0);
  if (done) done = SetLimit(RLIMIT_NPROC, kMaxProcesses, kMaxProcesses);
  if (done) done = SetLimit(RLIMIT_NOFILE, kSoftFiles, kMaxFiles);
  if (done) done = KeepGuestCapabilities();
  if (done && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return tl::unexpected(Error::FromErrno("no_new_privs"));
  }
  // Handlers go by themselves at exec; what the launcher ignored or blocked would stay.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return done;
}

Status Jail::ReportReady() {
  const char kind = static_cast<char>(network_.link_kind());
  const int link = network_.link().get();
  return SendPacket(in_.control.get(), Packet::Kind::kReady, {&kind, 1},
                    std::span(&link, network_.link().valid() ? 1 : 0));
}

/// 0 to 2 are /dev/null, 3 the socket; everything else closes at exec, whoever left it open.
Status Jail::KeepOnlyOurFds() {
  network_.link().reset();
  const UniqueFd opened(open("/dev/null", O_RDWR | O_CLOEXEC));
  // Out of the way of the numbers that are assigned below; closed at exec, as all are.
  const int null = fcntl(opened.get(), F_DUPFD_CLOEXEC, 10);
  const int socket = fcntl(in_.agent_socket.get(), F_DUPFD_CLOEXEC, 10);
  const int program = fcntl(agent_program_.get(), F_DUPFD_CLOEXEC, 10);
  const int control = fcntl(in_.control.get(), F_DUPFD_CLOEXEC, 10);
  if (null < 0 || socket < 0 || program < 0 || control < 0) {
    return tl::unexpected(Error::FromErrno("descriptors"));
  }
  agent_program_ = UniqueFd(program);
  in_.control = UniqueFd(control);
  for (int fd = 0; fd < kAgentSocket; ++fd) {
    if (dup2(null, fd) < 0) return tl::unexpected(Error::FromErrno("/dev/null"));
  }
  if (dup2(socket, kAgentSocket) < 0 ||
      close_range(kAgentSocket + 1, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
    return tl::unexpected(Error::FromErrno("descriptors"));
  }
  return {};
}

Status Jail::BecomeAgent() {
  char name[] = "sandbox-agent";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  fexecve(agent_program_.get(), arguments, environment);
  return tl::unexpected(Error::FromErrno(plan_.agent_path));
}

}  // namespace

void EnterJail(JailInput input) {
  Jail(std::move(input)).Enter();
}

}  // namespace sallyport::runtime
