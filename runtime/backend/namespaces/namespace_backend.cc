// Starting a sandbox, the launcher's side. The first process of the sandbox (jail.cc) does most of
// it; a launcher that is root helps with what needs the host's root:
//
//     launcher                              first process
//     reserve ids
//     clone ------------------------------> start a thread for the network
//     write the id maps ------ kMapped ---> become root inside
//     clone the tools -------- kTools ----> build the root file system
//       … Describe() …
//     plan, open the agent,
//     clone the mounts ------- kPlan -----> make the link and the mounts
//     <-------------------------- kReady -- drop privileges
//     <---------------------------- end --- become the agent
//
// The launcher may become another program before Describe(): HandOver() and the second constructor.

#include "runtime/backend/namespaces/namespace_backend.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <initializer_list>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/backend/namespaces/conversation.h"
#include "runtime/backend/namespaces/files.h"
#include "runtime/backend/namespaces/id_range.h"
#include "runtime/backend/namespaces/jail.h"
#include "runtime/backend/namespaces/plan.h"
#include "runtime/backend/namespaces/process.h"
#include "runtime/backend/namespaces/trees.h"

namespace sallyport::runtime {
namespace {

// Some milliseconds are normal; a machine that swaps may need seconds.
constexpr std::chrono::seconds kStartTimeout{20};

// The network's takes longer than all others together: the first process makes it, beside the rest.
constexpr uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
};

Result<SocketPair> MakeSocketPair(int type) {
  int fds[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/// What of a start lives through an exec of the launcher.
struct HandedOver {
  pid_t pid = -1;
  uid_t base = 0;
  std::array<UniqueFd, kHandedOverFds> fds;  ///< In the order of Handed.
};
enum Handed : size_t { kControl, kAgent, kFirstProcess, kIdLock };  // The last only as root.

/// One start on its way. Destroyed before Finish() or HandOver() it leaves nothing behind.
class Launch final : public StartingWorkload {
 public:
  explicit Launch(NamespaceOptions options) : options_(std::move(options)), root_(uid_ == 0) {}
  Launch(NamespaceOptions options, HandedOver begun) : Launch(std::move(options)) {
    ids_ = {begun.base, std::move(begun.fds[kIdLock])};
    control_.ours = std::move(begun.fds[kControl]);
    agent_.ours = std::move(begun.fds[kAgent]);
    child_.emplace(begun.pid, std::move(begun.fds[kFirstProcess]));
  }

  Status Begin() {
    return Run({&Launch::ReserveIdRange, &Launch::OpenSockets, &Launch::CloneFirstProcess,
                &Launch::MapIds, &Launch::SendTools});
  }

  Status Describe(const WorkloadSpec& spec) override {
    deadline_ = std::chrono::steady_clock::now() + kStartTimeout;
    auto plan = MakePlan(spec);
    if (!plan) return tl::unexpected(std::move(plan).error());
    plan_ = std::move(*plan);
    return Run({&Launch::OpenAgent, &Launch::SendPlan});
  }

  Result<std::string> HandOver(int first_fd);

  uid_t uid() const override { return ids_.base; }

  Result<Workload> Await() override {
    auto done = Run({&Launch::AwaitReady, &Launch::AwaitAgent});
    if (!done) return tl::unexpected(std::move(done).error());
    return Finish();
  }

 private:
  using Step = Status (Launch::*)();

  Status Run(std::initializer_list<Step> steps) {
    for (const Step step : steps) {
      auto done = (this->*step)();
      if (!done) return tl::unexpected(RealReason(std::move(done).error()));
    }
    return {};
  }

  Status ReserveIdRange();
  Status OpenSockets();
  Status CloneFirstProcess();
  Status MapIds();
  Status SendTools();
  Status OpenAgent();
  Status SendPlan();
  Status AwaitReady();
  Status AwaitAgent();
  Workload Finish();

  std::string Proc(const char* file) const {
    return "/proc/" + std::to_string(child_->pid()) + "/" + file;
  }
  void Send(Packet::Kind kind, std::string_view text, std::span<const int> fds);
  Result<Packet> Receive();
  Error RealReason(Error ours);
  Error Died() const;

  const NamespaceOptions options_;
  const uid_t uid_ = geteuid();
  const gid_t gid_ = getegid();
  const bool root_;
  std::chrono::steady_clock::time_point deadline_;
  Plan plan_;
  UniqueFd agent_program_;
  IdRange ids_;
  SocketPair control_;
  SocketPair agent_;
  std::optional<Child> child_;
  UniqueFd link_;
  LinkKind link_kind_ = LinkKind::kNone;
};

Status Launch::ReserveIdRange() {
  if (!root_) return {};
  auto ids = ReserveIds(options_.id_lock);
  if (!ids) return tl::unexpected(std::move(ids).error().In("reserving ids"));
  ids_ = std::move(*ids);
  return {};
}

Status Launch::OpenSockets() {
  auto control = MakeSocketPair(SOCK_SEQPACKET);
  auto agent = MakeSocketPair(SOCK_STREAM);
  if (!control) return tl::unexpected(std::move(control).error());
  if (!agent) return tl::unexpected(std::move(agent).error());
  control_ = std::move(*control);
  agent_ = std::move(*agent);
  return {};
}

Status Launch::CloneFirstProcess() {
  auto child = CloneInto(kNamespaces);
  if (!child) return tl::unexpected(std::move(child).error());
  if (child->pid() == 0) {
    control_.ours.reset();
    agent_.ours.reset();
    EnterJail({.options = options_,
               .root = root_,
               .outer_uid = uid_,
               .outer_gid = gid_,
               .control = std::move(control_.theirs),
               .agent_socket = std::move(agent_.theirs)});
  }
  child_.emplace(std::move(*child));
  control_.theirs.reset();
  agent_.theirs.reset();
  return {};
}

Status Launch::MapIds() {
  if (!root_) return {};
  const std::string map = IdMap(0, ids_.base, IdRange::kCount);
  auto done = WriteFile(Proc("uid_map"), map);
  if (done) done = WriteFile(Proc("gid_map"), map);
  if (done) done = SendPacket(control_.ours.get(), Packet::Kind::kMapped, "", {});
  if (!done) return tl::unexpected(std::move(done).error().In("mapping ids"));
  return {};
}

Status Launch::SendTools() {
  if (!root_) return {};
  const UniqueFd userns(open(Proc("ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  if (!userns.valid()) return tl::unexpected(Error::FromErrno(Proc("ns/user")));
  const std::vector<ToolTree> tools = MakeToolTrees(userns.get());
  std::string names;
  std::vector<int> fds;
  for (const ToolTree& tool : tools) {
    names += tool.directory + "\n";
    fds.push_back(tool.tree.get());
  }
  Send(Packet::Kind::kTools, names, fds);
  return {};
}

Status Launch::OpenAgent() {
  agent_program_ = UniqueFd(open(plan_.agent_path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (!agent_program_.valid() || fstat(agent_program_.get(), &info) != 0) {
    return tl::unexpected(Error::FromErrno("opening the agent " + plan_.agent_path));
  }
  if (!S_ISREG(info.st_mode)) {
    return Fail(Code::kInvalid, "the agent " + plan_.agent_path + " is not a program");
  }
  return {};
}

Status Launch::SendPlan() {
  const UniqueFd file(memfd_create("sallyport-plan", MFD_CLOEXEC));
  const std::string bytes = EncodePlan(plan_);
  if (!file.valid() ||
      pwrite(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tl::unexpected(Error::FromErrno("writing the plan"));
  }
  std::vector<int> fds{file.get()};
  std::vector<UniqueFd> mounts;
  if (root_) {
    fds.push_back(agent_program_.get());
    auto made = MakeMountTrees(plan_, ids_.base);
    if (!made) return tl::unexpected(std::move(made).error());
    mounts = std::move(*made);
    for (const UniqueFd& mount : mounts) fds.push_back(mount.get());
  }
  Send(Packet::Kind::kPlan, "", fds);
  return {};
}

/// A process that failed meanwhile has said why; AwaitReady() reads it.
void Launch::Send(Packet::Kind kind, std::string_view text, std::span<const int> fds) {
  (void)SendPacket(control_.ours.get(), kind, text, fds).has_value();
}

/// The next packet that is not a failure.
Result<Packet> Launch::Receive() {
  auto packet = ReceivePacket(control_.ours.get(), deadline_);
  if (!packet) return tl::unexpected(std::move(packet).error().In("starting the sandbox"));
  if (packet->kind == Packet::Kind::kFailed) return tl::unexpected(DecodeError(packet->text));
  return packet;
}

/// A first process that failed has said why before it went; what we then fail at is a consequence.
Error Launch::RealReason(Error ours) {
  if (!child_) return ours;
  auto packet = ReceivePacket(control_.ours.get(), std::chrono::steady_clock::now());
  if (!packet || packet->kind != Packet::Kind::kFailed) return ours;
  return DecodeError(packet->text);
}

Error Launch::Died() const {
  return Error(Code::kSystem, "the sandbox's first process ended while it started");
}

Status Launch::AwaitReady() {
  auto packet = Receive();
  if (!packet) return tl::unexpected(std::move(packet).error());
  if (packet->kind != Packet::Kind::kReady || packet->text.size() != 1) {
    return tl::unexpected(Died());
  }
  link_kind_ = static_cast<LinkKind>(packet->text[0]);
  if (packet->fds.size() != (link_kind_ == LinkKind::kNone ? 0U : 1U)) {
    return tl::unexpected(Died());
  }
  if (!packet->fds.empty()) link_ = std::move(packet->fds[0]);
  return {};
}

Status Launch::AwaitAgent() {
  auto packet = Receive();
  if (!packet) return tl::unexpected(std::move(packet).error());
  siginfo_t info{};
  const bool ended =
      waitid(P_PID, static_cast<id_t>(child_->pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
      info.si_pid != 0;
  if (packet->kind != Packet::Kind::kEnd || ended) return tl::unexpected(Died());
  return {};
}

Workload Launch::Finish() {
  Workload workload;
  workload.pid = child_->pid();
  workload.pidfd = child_->Release();
  workload.agent = std::move(agent_.ours);
  workload.link = std::move(link_);
  workload.link_kind = link_kind_;
  workload.uid = ids_.base;
  workload.ids = std::move(ids_.lock);
  return workload;
}

/// Gives FD, if it is open, a number from LEAST on.
Status MoveUp(UniqueFd& fd, int least) {
  if (!fd.valid()) return {};
  UniqueFd moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, least));
  if (!moved.valid()) return tl::unexpected(Error::FromErrno("descriptors"));
  fd = std::move(moved);
  return {};
}

Result<std::string> Launch::HandOver(int first_fd) {
  // All of ours go out of the way of the numbers that are assigned below.
  const int above = first_fd + kHandedOverFds;
  const pid_t pid = child_->pid();
  UniqueFd pidfd = child_->Release();
  auto done = MoveUp(pidfd, above);
  child_.emplace(pid, std::move(pidfd));
  for (UniqueFd* fd : {&control_.ours, &agent_.ours, &ids_.lock}) {
    if (done) done = MoveUp(*fd, above);
  }
  if (!done) return tl::unexpected(std::move(done).error());
  std::array<int, kHandedOverFds> fds{};
  fds[kControl] = control_.ours.get();
  fds[kAgent] = agent_.ours.get();
  fds[kFirstProcess] = child_->pidfd();
  fds[kIdLock] = ids_.lock.get();
  for (size_t i = 0; i < fds.size(); ++i) {
    if (fds[i] >= 0 && dup2(fds[i], first_fd + static_cast<int>(i)) < 0) {
      return tl::unexpected(Error::FromErrno("descriptors"));
    }
  }
  (void)child_->Release();
  return std::to_string(pid) + " " + std::to_string(ids_.base);
}

/// The descriptors from FIRST_FD on, closed at the next exec.
Result<HandedOver> TakeHandedOver(int first_fd, const std::string& words) {
  HandedOver begun;
  std::istringstream in(words);
  if (!(in >> begun.pid >> begun.base) || begun.pid <= 1) {
    return Fail(Code::kInvalid, "what was begun is not known");
  }
  for (size_t i = 0; i < begun.fds.size(); ++i) {
    const int fd = first_fd + static_cast<int>(i);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) {
      begun.fds[i] = UniqueFd(fd);
    } else if (i != kIdLock) {
      return tl::unexpected(Error::FromErrno("a descriptor of what was begun"));
    }
  }
  return begun;
}

class NamespaceBackend final : public Backend {
 public:
  explicit NamespaceBackend(NamespaceOptions options) : options_(std::move(options)) {}
  std::string_view name() const override { return "namespace"; }
  Result<std::unique_ptr<StartingWorkload>> Begin() override {
    auto launch = std::make_unique<Launch>(options_);
    if (auto begun = launch->Begin(); !begun) return tl::unexpected(std::move(begun).error());
    return Result<std::unique_ptr<StartingWorkload>>(std::move(launch));
  }

 private:
  NamespaceOptions options_;
};

}  // namespace

std::unique_ptr<Backend> NewNamespaceBackend(NamespaceOptions options) {
  return std::make_unique<NamespaceBackend>(std::move(options));
}

Result<std::string> BeginBeforeExec(const NamespaceOptions& options, int first_fd) {
  Launch launch(options);
  if (auto begun = launch.Begin(); !begun) return tl::unexpected(std::move(begun).error());
  return launch.HandOver(first_fd);
}

Result<std::unique_ptr<StartingWorkload>> ContinueNamespaceStart(const NamespaceOptions& options,
                                                                 int first_fd,
                                                                 const std::string& words) {
  auto begun = TakeHandedOver(first_fd, words);
  if (!begun) return tl::unexpected(std::move(begun).error());
  return Result<std::unique_ptr<StartingWorkload>>(
      std::make_unique<Launch>(options, *std::move(begun)));
}

}  // namespace sallyport::runtime
