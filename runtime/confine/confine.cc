// The stages, in their order, and why it is this order:
//
//   Limit        no core file, few files: needs nothing, spoils nothing
//   EmptyRoot    needs /proc and the right to mount; a plain user gets that right from the new user
//                namespace, root has it until the next stage
//   DropBoundingSet    needs a capability, of root or of the new user namespace
//   ChangeUser   gives up root's id, and with it all permitted capabilities
//   DropCapabilities   those of the new user namespace
//   Seal         no new privileges, not dumpable: after the last change of credentials, which
//   resets it Landlock     needs no_new_privs; its files are opened in the new root Seccomp last:
//   it forbids everything above

#include "runtime/confine/confine.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "runtime/confine/empty_root.h"
#include "runtime/confine/landlock.h"
#include "runtime/seccomp/filters.h"

#if defined(__SANITIZE_ADDRESS__)
#define SALLYPORT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SALLYPORT_SANITIZED 1
#endif
#endif

#ifdef SALLYPORT_SANITIZED
namespace {
bool leak_check_is_impossible = false;
}
// The leak checker asks this at exit. It traces its own process, which Confine() forbids.
extern "C" int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() {
  return leak_check_is_impossible ? 1 : 0;
}
#endif

namespace sallyport::runtime {
namespace {

// For a host whose user namespace does not reach our own ids (a container).
constexpr uid_t kNobody = 65534;

class Confining {
 public:
  explicit Confining(const ConfineOptions& options) : options_(options) {}

  Result<Confinement> Run() {
    using Stage = Status (Confining::*)();
    for (const Stage stage : {&Confining::Limit, &Confining::EmptyRoot, &Confining::DropBoundingSet,
                              &Confining::ChangeUser, &Confining::DropCapabilities,
                              &Confining::Seal, &Confining::Landlock, &Confining::Seccomp}) {
      auto done = (this->*stage)();
      if (!done) return tl::unexpected(std::move(done).error());
    }
    return result_;
  }

 private:
  Status Limit();
  Status EmptyRoot();
  Status DropBoundingSet();
  Status ChangeUser();
  Status DropCapabilities();
  Status Seal();
  Status Landlock();
  Status Seccomp();

  const ConfineOptions& options_;
  int death_signal_ = 0;
  Confinement result_;
};

Status SetLimit(__rlimit_resource_t resource, rlim_t value, const char* name) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return tl::unexpected(Error::FromErrno(name));
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(resource, &limit) != 0) return tl::unexpected(Error::FromErrno(name));
  return {};
}

Status Confining::Limit() {
  prctl(PR_GET_PDEATHSIG, &death_signal_);
  auto limited = SetLimit(RLIMIT_CORE, 0, "limiting core files");
  if (limited) limited = SetLimit(RLIMIT_NOFILE, options_.max_files, "limiting open files");
  return limited;
}

Status Confining::EmptyRoot() {
  auto entered = EnterEmptyRoot(options_.readable);
  if (!entered) return tl::unexpected(std::move(entered).error());
  result_.namespaces = *entered;
  return {};
}

uid_t RandomId() {
  uint16_t offset = 0;
  if (getrandom(&offset, sizeof offset, GRND_NONBLOCK) != sizeof offset) offset = 1;
  return kFirstConfinedId + offset;
}

bool TakeId(uid_t id) {
  return setresgid(id, id, id) == 0 && setresuid(id, id, id) == 0;
}

Status Confining::ChangeUser() {
  if (geteuid() != 0) return {};
  if (setgroups(0, nullptr) != 0) return tl::unexpected(Error::FromErrno("dropping groups"));
  const bool taken =
      options_.uid != 0 ? TakeId(options_.uid) : TakeId(RandomId()) || TakeId(kNobody);
  if (!taken) return tl::unexpected(Error::FromErrno("taking an unprivileged id"));
  if (setresuid(-1U, 0, -1U) == 0) return Fail(Code::kSystem, "root's id came back");
  result_.user_changed = true;
  return {};
}

/// A plain user without a user namespace may not, and has nothing that it would bound.
Status Confining::DropBoundingSet() {
  for (int capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL || geteuid() != 0) break;  // The last one, or no right to.
    return tl::unexpected(Error::FromErrno("dropping the bounding set"));
  }
  return {};
}

Status Confining::DropCapabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) {
    return tl::unexpected(Error::FromErrno("dropping capabilities"));
  }
  return {};
}

Status Confining::Seal() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return tl::unexpected(Error::FromErrno("giving up new privileges"));
  }
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return tl::unexpected(Error::FromErrno("becoming not dumpable"));
  }
  if (death_signal_ != 0 && prctl(PR_SET_PDEATHSIG, death_signal_, 0, 0, 0) != 0) {
    return tl::unexpected(Error::FromErrno("keeping the parent-death signal"));
  }
  return {};
}

Status Confining::Landlock() {
  const bool warden = options_.role == ConfineOptions::Role::kWarden;
  // The warden signals its workload, which is not below it in Landlock's terms; so does its death.
  const bool network = options_.role != ConfineOptions::Role::kBroker;
  auto abi =
      RestrictByLandlock({.readable = options_.readable, .network = network, .signals = warden});
  if (!abi) return tl::unexpected(std::move(abi).error());
  result_.landlock_abi = *abi;
  return {};
}

#ifndef SALLYPORT_SANITIZED
std::span<const sock_filter> FilterFor(ConfineOptions::Role role) {
  switch (role) {
    case ConfineOptions::Role::kWarden:
      return WardenFilter();
    case ConfineOptions::Role::kOnlineBroker:
      return OnlineBrokerFilter();
    case ConfineOptions::Role::kBroker:
      break;
  }
  return BrokerFilter();
}
#endif

Status Confining::Seccomp() {
#ifdef SALLYPORT_SANITIZED
  leak_check_is_impossible = true;
  return {};
#else
  const auto filter = FilterFor(options_.role);
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    return tl::unexpected(Error::FromErrno("installing the seccomp filter"));
  }
  result_.seccomp = true;
  return {};
#endif
}

}  // namespace

Result<Confinement> Confine(const ConfineOptions& options) {
  return Confining(options).Run();
}

}  // namespace sallyport::runtime
