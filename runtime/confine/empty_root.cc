#include "runtime/confine/empty_root.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "base/unique_fd.h"

namespace sallyport::runtime {
namespace {

// Room for the folders that lead to the readable files, and nothing more.
constexpr const char* kRootOptions = "mode=0555,size=256k,nr_inodes=1024";
constexpr int kNamespaces = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

Status WriteProc(const char* path, const std::string& text) {
  const UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return tl::unexpected(Error::FromErrno(path));
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

Status MapIdsToThemselves(uid_t uid, gid_t gid) {
  const std::string user = std::to_string(uid);
  const std::string group = std::to_string(gid);
  auto done = WriteProc("/proc/self/setgroups", "deny");
  if (done) done = WriteProc("/proc/self/uid_map", user + " " + user + " 1");
  if (done) done = WriteProc("/proc/self/gid_map", group + " " + group + " 1");
  return done;
}

/// A mount of PATH that belongs to nothing yet.
Result<UniqueFd> CloneTree(const std::string& path) {
  UniqueFd tree(
      open_tree(AT_FDCWD, path.c_str(),
                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_RECURSIVE)));
  if (!tree.valid()) return tl::unexpected(Error::FromErrno(path));
  mount_attr attributes{};
  attributes.attr_set =
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) !=
      0) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return tree;
}

/// Makes PATH (absolute) below the current folder, as what TREE is, and puts TREE there.
Status Attach(int tree, const std::string& path) {
  const std::string place = path.substr(1);
  for (size_t slash = place.find('/'); slash != std::string::npos;
       slash = place.find('/', slash + 1)) {
    if (mkdir(place.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) {
      return tl::unexpected(Error::FromErrno(path));
    }
  }
  struct stat info;
  if (fstat(tree, &info) != 0) return tl::unexpected(Error::FromErrno(path));
  if (S_ISDIR(info.st_mode)) {
    if (mkdir(place.c_str(), 0755) != 0 && errno != EEXIST) {
      return tl::unexpected(Error::FromErrno(path));
    }
  } else {
    const UniqueFd file(open(place.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!file.valid()) return tl::unexpected(Error::FromErrno(path));
  }
  if (move_mount(tree, "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

Status BuildRoot(const std::vector<std::string>& readable) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return tl::unexpected(Error::FromErrno("making mounts private"));
  }
  std::vector<UniqueFd> trees;
  for (const std::string& path : readable) {
    if (path.empty() || path[0] != '/') return Fail(Code::kInvalid, path + " is not absolute");
    auto tree = CloneTree(path);
    if (!tree) return tl::unexpected(std::move(tree).error());
    trees.push_back(std::move(*tree));
  }
  // Any folder serves: the mount on it is taken away again with the rest of the old root.
  if (mount("empty", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, kRootOptions) != 0 ||
      chdir("/proc") != 0) {
    return tl::unexpected(Error::FromErrno("mounting an empty root"));
  }
  for (size_t i = 0; i < trees.size(); ++i) {
    auto attached = Attach(trees[i].get(), readable[i]);
    if (!attached) return tl::unexpected(std::move(attached).error());
  }
  return {};
}

Status MoveIntoRoot() {
  if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
    return tl::unexpected(Error::FromErrno("entering the empty root"));
  }
  constexpr unsigned long kFlags =
      MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount(nullptr, "/", nullptr, kFlags, nullptr) != 0) {
    return tl::unexpected(Error::FromErrno("making the empty root read-only"));
  }
  return {};
}

/// Whether the namespaces could be had.
Result<bool> Unshare() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (uid == 0) return unshare(kNamespaces) == 0;
  if (unshare(kNamespaces | CLONE_NEWUSER) != 0) return false;
  // Else the files in /proc/self are root's. There is no secret in this process yet.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  auto mapped = MapIdsToThemselves(uid, gid);
  if (!mapped) return tl::unexpected(std::move(mapped).error());
  return true;
}

/// AppArmor may give a user namespace but no right in it: seen only at the first mount.
bool DeniedByHost() {
  return errno == EPERM || errno == EACCES;
}

}  // namespace

Result<bool> EnterEmptyRoot(const std::vector<std::string>& readable) {
  auto unshared = Unshare();
  if (!unshared || !*unshared) return unshared;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 && DeniedByHost()) {
    return false;
  }
  auto done = BuildRoot(readable);
  if (done) done = MoveIntoRoot();
  if (!done) return tl::unexpected(std::move(done).error());
  return true;
}

}  // namespace sallyport::runtime
