#include "runtime/backend/namespaces/devices.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

constexpr unsigned long kHarmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// Settings and switches of the kernel: to be read, at most.
constexpr const char* kReadOnlyProc[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};
// Addresses in the kernel, keys of the same user, what runs beside us. Much more belongs to the
// host's root alone, who is nobody inside, and needs no hiding.
constexpr const char* kHiddenProc[] = {"interrupts",  "kallsyms",   "kcore",
                                       "key-users",   "keys",       "latency_stats",
                                       "sched_debug", "timer_list", "timer_stats"};
constexpr const char* kHiddenProcDirectories[] = {"acpi", "asound", "scsi"};
constexpr const char* kHiddenSysDirectories[] = {"firmware", "devices/virtual/powercap"};
constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};

Status Mount(const char* source, const std::string& target, const char* type, unsigned long flags,
             const char* options) {
  if (mount(source, target.c_str(), type, flags, options) != 0) {
    return tl::unexpected(Error::FromErrno(target.substr(sizeof "/new" - 1)));
  }
  return {};
}

/// Binds PATH on itself, read-only. What this kernel doesn't have is left out.
Status MakeReadOnly(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0) return {};
  auto done = Mount(path.c_str(), path, nullptr, MS_BIND | MS_REC, nullptr);
  if (done) {
    done = Mount(nullptr, path, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | kHarmless, nullptr);
  }
  return done;
}

Status HideFile(const std::string& path) {
  if (mount("/oldroot/dev/null", path.c_str(), nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

Status HideDirectory(const std::string& path) {
  if (mount("hidden", path.c_str(), "tmpfs", MS_RDONLY | kHarmless, "mode=0555,size=0") != 0 &&
      errno != ENOENT) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

}  // namespace

Status MountProc() {
  if (mount("proc", "/new/proc", "proc", kHarmless, nullptr) != 0) {
    const bool too_revealing = errno == EPERM;
    Error error = Error::FromErrno("mount");
    if (!too_revealing) return tl::unexpected(std::move(error));
    // The kernel gives a new /proc only to who sees all of the old one ("mount too revealing").
    return Fail(Code::kUnsupported,
                error.message() +
                    ": parts of /proc of this container are masked; run it with "
                    "unmasked /proc (--security-opt systempaths=unconfined, or "
                    "procMount: Unmasked)");
  }
  return {};
}

Status ProtectProc() {
  const std::string proc = "/new/proc/";
  Status done;
  for (const char* name : kReadOnlyProc) {
    if (done) done = MakeReadOnly(proc + name);
  }
  for (const char* name : kHiddenProc) {
    if (done) done = HideFile(proc + name);
  }
  for (const char* name : kHiddenProcDirectories) {
    if (done) done = HideDirectory(proc + name);
  }
  return done;
}

Status AddDev(const RootFs& root) {
  auto done =
      Mount("dev", "/new/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64");
  for (const char* name : kDevices) {
    const std::string path = std::string("/new/dev/") + name;
    if (done) done = CreateFile(AT_FDCWD, path, "");
    const std::string on_host = std::string("/oldroot/dev/") + name;
    if (done) done = Mount(on_host.c_str(), path, nullptr, MS_BIND, nullptr);
  }
  if (done) done = MakeDirectories(root.root(), "dev/pts");
  if (done) done = MakeDirectories(root.root(), "dev/shm");
  if (done) {
    done = Mount("devpts", "/new/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                 "newinstance,ptmxmode=0666,mode=0620");
  }
  if (done) done = Mount("shm", "/new/dev/shm", "tmpfs", kHarmless, "mode=1777,size=256m");
  if (!done) return done;
  constexpr std::pair<const char*, const char*> kLinks[] = {
      {"pts/ptmx", "/new/dev/ptmx"},          {"/proc/self/fd", "/new/dev/fd"},
      {"/proc/self/fd/0", "/new/dev/stdin"},  {"/proc/self/fd/1", "/new/dev/stdout"},
      {"/proc/self/fd/2", "/new/dev/stderr"},
  };
  for (const auto& [target, link] : kLinks) {
    if (symlink(target, link) != 0) return tl::unexpected(Error::FromErrno(link));
  }
  return {};
}

Status AddSys() {
  auto done = Mount("sysfs", "/new/sys", "sysfs", MS_RDONLY | kHarmless, nullptr);
  for (const char* name : kHiddenSysDirectories) {
    if (done) done = HideDirectory(std::string("/new/sys/") + name);
  }
  return done;
}

}  // namespace sallyport::runtime
