#include "runtime/backend/namespaces/trees.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "runtime/backend/namespaces/files.h"
#include "runtime/backend/namespaces/id_range.h"
#include "runtime/backend/namespaces/process.h"

namespace sallyport::runtime {
namespace {

constexpr uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

/// A user namespace in which OWNER is the guest's root, and nobody else is anybody.
Result<UniqueFd> OwnerNamespace(uid_t owner, gid_t group, uid_t base) {
  const pid_t launcher = getpid();
  auto holder = CloneInto(CLONE_NEWUSER);
  if (!holder) return tl::unexpected(std::move(holder).error());
  if (holder->pid() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == launcher) pause();
    _exit(0);
  }
  const std::string proc = "/proc/" + std::to_string(holder->pid());
  auto mapped = WriteFile(proc + "/uid_map", IdMap(owner, base, 1));
  if (mapped) mapped = WriteFile(proc + "/gid_map", IdMap(group, base, 1));
  if (!mapped) return tl::unexpected(std::move(mapped).error());
  UniqueFd userns(open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  if (!userns.valid()) return tl::unexpected(Error::FromErrno(proc + "/ns/user"));
  return userns;
}

UniqueFd CloneTree(const std::string& path, unsigned recursive) {
  return UniqueFd(
      open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive));
}

bool SetAttributes(int tree, uint64_t attributes, int userns) {
  mount_attr change{};
  change.attr_set = attributes;
  if (userns >= 0) {
    change.attr_set |= MOUNT_ATTR_IDMAP;
    change.userns_fd = static_cast<uint64_t>(userns);
  }
  return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) == 0;
}

class MountMaker {
 public:
  MountMaker(const Plan& plan, uid_t base) : plan_(plan), base_(base) {}

  Result<std::vector<UniqueFd>> Make() {
    std::vector<UniqueFd> trees;
    for (const Plan::Mount& mount : plan_.mounts) {
      auto tree = MakeMount(mount);
      if (!tree) return tl::unexpected(std::move(tree).error());
      trees.push_back(std::move(*tree));
    }
    return trees;
  }

 private:
  Result<int> OwnerNamespaceOf(const Plan::Mount& mount) {
    UniqueFd& known = owners_[{mount.owner, mount.group}];
    if (!known.valid()) {
      auto made = OwnerNamespace(mount.owner, mount.group, base_);
      if (!made) return tl::unexpected(std::move(made).error());
      known = std::move(*made);
    }
    return known.get();
  }

  Result<UniqueFd> MakeMount(const Plan::Mount& mount) {
    auto owner = OwnerNamespaceOf(mount);
    if (!owner) return tl::unexpected(std::move(owner).error());
    UniqueFd tree = CloneTree(mount.source, AT_RECURSIVE);
    if (!tree.valid()) return tl::unexpected(Error::FromErrno("mounting " + mount.source));
    const uint64_t attributes = kSafe | (mount.writable ? 0 : MOUNT_ATTR_RDONLY);
    if (SetAttributes(tree.get(), attributes, *owner)) return tree;
    const Error error = Error::FromErrno("mounting " + mount.source);
    if (mount.writable) {
      return Fail(Code::kUnsupported, error.message() +
                                          ": its file system can't map ids; mount it read-only, "
                                          "or start the sandbox as the owner of its files");
    }
    if (!SetAttributes(tree.get(), attributes, -1)) return tl::unexpected(error);
    return tree;
  }

  const Plan& plan_;
  uid_t base_;
  std::map<std::pair<uid_t, gid_t>, UniqueFd> owners_;
};

}  // namespace

std::vector<ToolTree> MakeToolTrees(int userns) {
  std::vector<ToolTree> tools;
  for (const char* directory : kToolDirectories) {
    struct stat info;
    if (lstat(directory, &info) != 0 || !S_ISDIR(info.st_mode)) continue;
    UniqueFd tree = CloneTree(directory, 0);
    if (!tree.valid() || !SetAttributes(tree.get(), kSafe | MOUNT_ATTR_RDONLY, userns)) continue;
    tools.push_back({directory, std::move(tree)});
  }
  return tools;
}

Result<std::vector<UniqueFd>> MakeMountTrees(const Plan& plan, uid_t base) {
  return MountMaker(plan, base).Make();
}

}  // namespace sallyport::runtime
