#include "runtime/backend/namespaces/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <string>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

constexpr uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

UniqueFd CloneTree(int directory, const char* path, unsigned flags) {
  return UniqueFd(open_tree(directory, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags));
}

Status SetAttributes(int tree, uint64_t attributes) {
  mount_attr change{};
  change.attr_set = attributes;
  if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) != 0) {
    return tl::unexpected(Error::FromErrno("mount_setattr"));
  }
  return {};
}

Status Attach(int tree, int place) {
  if (move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return tl::unexpected(Error::FromErrno("move_mount"));
  }
  return {};
}

/// An empty directory that nothing can be written to.
Result<UniqueFd> EmptyDirectory() {
  const UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context.valid() || fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0555", 0) != 0 ||
      fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "4k", 0) != 0 ||
      fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return tl::unexpected(Error::FromErrno("an empty directory"));
  }
  UniqueFd tree(
      fsmount(context.get(), FSMOUNT_CLOEXEC, kSafe | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC));
  if (!tree.valid()) return tl::unexpected(Error::FromErrno("an empty directory"));
  return tree;
}

Result<UniqueFd> EmptyFile() {
  const UniqueFd file(open("/up/.empty", O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("an empty file"));
  UniqueFd tree = CloneTree(AT_FDCWD, "/up/.empty", 0);
  if (!tree.valid()) return tl::unexpected(Error::FromErrno("an empty file"));
  auto set = SetAttributes(tree.get(), kSafe | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC);
  if (!set) return tl::unexpected(std::move(set).error());
  return tree;
}

/// Puts something empty over PLACE (O_PATH).
Status Cover(int place) {
  struct stat info;
  if (fstat(place, &info) != 0) return tl::unexpected(Error::FromErrno("stat"));
  if (S_ISLNK(info.st_mode)) return Fail(Code::kUnsupported, "a link can't be hidden");
  auto empty = S_ISDIR(info.st_mode) ? EmptyDirectory() : EmptyFile();
  if (!empty) return tl::unexpected(std::move(empty).error());
  return Attach(empty->get(), place);
}

/// Binds PLACE on itself, with ATTRIBUTES: a mount point can't be renamed or removed from inside.
Status Pin(int place, uint64_t attributes) {
  const UniqueFd tree = CloneTree(place, "", AT_EMPTY_PATH | AT_RECURSIVE);
  if (!tree.valid()) return tl::unexpected(Error::FromErrno("open_tree"));
  auto done = SetAttributes(tree.get(), attributes);
  if (done) done = Attach(tree.get(), place);
  return done;
}

/// Opens NAME in the directory MOUNT; invalid when it does not exist, an error when it is a link.
Result<UniqueFd> OpenToProtect(int mount, const std::string& name) {
  UniqueFd place = OpenPlain(mount, name, O_PATH);
  struct stat info;
  const bool is_link =
      place.valid() ? fstat(place.get(), &info) == 0 && S_ISLNK(info.st_mode) : errno == ELOOP;
  if (is_link) {
    return Fail(Code::kUnsupported, name +
                                        " is a link, which can't be protected from changes; "
                                        "replace it by what it leads to, or mount read-only");
  }
  if (!place.valid() && errno != ENOENT && errno != ENOTDIR) {
    return tl::unexpected(Error::FromErrno(name));
  }
  return place;
}

/// Pins what leads to PATH in the directory MOUNT, from the top down: a file that is covered or
/// read-only is of no use when a folder around it can be renamed and another one made in its place.
Status PinWhatLeadsTo(int mount, const std::string& path, std::set<std::string>& pinned) {
  for (size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    if (!pinned.insert(folder).second) continue;
    const UniqueFd place = OpenPlain(mount, folder, O_PATH);
    if (!place.valid()) return tl::unexpected(Error::FromErrno(folder));
    auto done = Pin(place.get(), 0);
    if (!done) return tl::unexpected(std::move(done).error().In(folder));
  }
  return {};
}

Status ProtectWhatTheHostRuns(int mount, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    auto place = OpenToProtect(mount, path);
    if (!place) return tl::unexpected(std::move(place).error());
    if (!place->valid()) continue;
    auto protected_now = Pin(place->get(), MOUNT_ATTR_RDONLY);
    if (!protected_now) return tl::unexpected(std::move(protected_now).error().In(path));
  }
  return {};
}

Status Hide(int mount, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const UniqueFd place = OpenPlain(mount, path, O_PATH);
    if (!place.valid()) return tl::unexpected(Error::FromErrno("hiding " + path));
    auto covered = Cover(place.get());
    if (!covered) return tl::unexpected(std::move(covered).error().In("hiding " + path));
  }
  return {};
}

/// Keeps what the guest must not see, and what it must not change, in the mounted directory TREE.
Status Restrict(int tree, const Plan::Mount& mount) {
  Status done;
  if (mount.writable) {
    std::set<std::string> pinned;
    for (const auto* paths : {&mount.host_runs, &mount.hidden}) {
      for (const std::string& path : *paths) {
        if (done) done = PinWhatLeadsTo(tree, path, pinned);
      }
    }
  }
  if (done) done = Hide(tree, mount.hidden);
  if (done) done = ProtectWhatTheHostRuns(tree, mount.host_runs);
  return done;
}

/// Opens TARGET inside the root, making what is missing of it.
Result<UniqueFd> MakeTarget(int root, const std::string& target, bool directory) {
  for (size_t end = target.find('/', 1); true; end = target.find('/', end + 1)) {
    const std::string prefix = target.substr(0, end);
    const bool last = end == std::string::npos;
    UniqueFd place = OpenInRoot(root, prefix, O_PATH);
    if (!place.valid() && errno == ENOENT) {
      const size_t slash = prefix.rfind('/');
      const UniqueFd parent = OpenInRoot(root, prefix.substr(0, slash), O_PATH | O_DIRECTORY);
      const std::string name = prefix.substr(slash + 1);
      auto made = last && !directory ? CreateFile(parent.get(), name, "")
                                     : MakeDirectories(parent.get(), name);
      if (!made) return tl::unexpected(std::move(made).error().In("making " + prefix));
      place = OpenInRoot(root, prefix, O_PATH);
    }
    if (!place.valid()) return tl::unexpected(Error::FromErrno(prefix));
    if (last) return place;
  }
}

Result<UniqueFd> OwnTree(const Plan::Mount& mount) {
  UniqueFd tree = CloneTree(AT_FDCWD, ("/oldroot" + mount.source).c_str(), AT_RECURSIVE);
  if (!tree.valid()) return tl::unexpected(Error::FromErrno(mount.source));
  auto set = SetAttributes(tree.get(), kSafe | (mount.writable ? 0 : MOUNT_ATTR_RDONLY));
  if (!set) return tl::unexpected(std::move(set).error());
  return tree;
}

Status AddMount(const RootFs& root, const Plan::Mount& mount, UniqueFd tree) {
  auto target = MakeTarget(root.root(), mount.target, mount.directory);
  if (!target) return tl::unexpected(std::move(target).error());
  if (!tree.valid()) {
    auto own = OwnTree(mount);
    if (!own) return tl::unexpected(std::move(own).error());
    tree = std::move(*own);
  }
  auto done = Attach(tree.get(), target->get());
  // From here on the tree's descriptor is the mounted directory itself.
  if (done) done = Restrict(tree.get(), mount);
  return done;
}

}  // namespace

Status AddMounts(const RootFs& root, const Plan& plan, std::vector<UniqueFd> trees) {
  trees.resize(plan.mounts.size());
  for (size_t i = 0; i < plan.mounts.size(); ++i) {
    const Plan::Mount& mount = plan.mounts[i];
    auto added = AddMount(root, mount, std::move(trees[i]));
    if (!added) {
      return tl::unexpected(std::move(added).error().In(mount.source + " on " + mount.target));
    }
  }
  return {};
}

namespace {

/// Whether PATH inside can be the host's: the sandbox's own /root, /tmp and so on only bear the
/// names.
bool ShowsHost(const std::string& path) {
  for (const char* directory : kToolDirectories) {
    if (IsWithin(path, directory)) return true;
  }
  return IsWithin(path, "/opt") || IsWithin(path, "/etc") || IsWithin(path, "/var/lib");
}

}  // namespace

Status HideMasked(const RootFs& root, const Plan& plan) {
  for (const std::string& path : plan.masked) {
    const UniqueFd place = OpenPlain(root.root(), path, O_PATH);
    if (!place.valid()) {
      if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR) continue;
      return tl::unexpected(Error::FromErrno("hiding " + path));
    }
    if (!ShowsHost(path)) continue;
    auto covered = Cover(place.get());
    if (!covered) return tl::unexpected(std::move(covered).error().In("hiding " + path));
  }
  return {};
}

}  // namespace sallyport::runtime
