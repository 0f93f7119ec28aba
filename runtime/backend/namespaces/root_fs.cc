#include "runtime/backend/namespaces/root_fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "runtime/backend/namespaces/files.h"
#include "runtime/backend/namespaces/process.h"

namespace sallyport::runtime {
namespace {

// What a sandbox may write, memory and swap permitting: builds and package trees fit.
constexpr uint64_t kMaxRootBytes = uint64_t{4} << 30;
constexpr uint64_t kMaxRootFiles = 1 << 20;
// A directory with mounts below it, as a plain user sees them, takes one overlay for each entry.
// More than this is not a directory of programs; each costs 120 us.
constexpr unsigned kMaxOverlays = 512;
constexpr int kMaxMirrorDepth = 4;

uint64_t RootBytes() {
  struct sysinfo info {};
  if (sysinfo(&info) != 0) return kMaxRootBytes;
  return std::min(kMaxRootBytes, uint64_t{info.totalram} * info.mem_unit / 2);
}

Status MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

Status CopyLink(const std::string& from, const std::string& to) {
  char target[4096];
  const ssize_t size = readlink(from.c_str(), target, sizeof target - 1);
  if (size < 0) return tl::unexpected(Error::FromErrno(from));
  target[size] = '\0';
  if (symlink(target, to.c_str()) != 0 && errno != EEXIST) {
    return tl::unexpected(Error::FromErrno(to));
  }
  return {};
}

/// Bind-mounts FROM (opened) on TO (below DIRECTORY, and no link), read-only and harmless.
Status BindReadOnly(const UniqueFd& from, int directory, const std::string& to) {
  const UniqueFd tree(open_tree(
      from.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (!tree.valid() ||
      mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) !=
          0 ||
      move_mount(tree.get(), "", directory, to.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return tl::unexpected(Error::FromErrno("/" + to));
  }
  return {};
}

bool IsEmptyDirectory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), &closedir);
  if (directory == nullptr) return true;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return false;
  }
  return true;
}

/// Without the characters that mean something in an overlay's options.
bool IsPlainName(std::string_view path) {
  return path.find_first_of(":,\\") == std::string_view::npos;
}

/// Mounts the tmpfs that holds everything on PATH.
bool MountTmpfs(const char* path) {
  const std::string options = "mode=0755,size=" + std::to_string(RootBytes()) +
                              ",nr_inodes=" + std::to_string(kMaxRootFiles);
  // A file in few large pieces is written in half the time; not every kernel can.
  const std::string large = options + ",huge=within_size";
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_SILENT;
  return mount("sandbox", path, "tmpfs", kFlags, large.c_str()) == 0 ||
         mount("sandbox", path, "tmpfs", kFlags, options.c_str()) == 0;
}

Error DeniedMount() {
  Error error = Error::FromErrno("mount");
  const std::string why = WhyNamespacesAreForbidden();
  if (why.empty()) return error;
  return Error(Code::kUnsupported, error.message() + ": " + why);
}

}  // namespace

Result<RootFs> RootFs::Create() {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE | MS_SILENT, nullptr) != 0) {
    return tl::unexpected(DeniedMount());
  }
  // Any directory serves: what is mounted on it goes away with the old root.
  if (!MountTmpfs("/tmp") || chdir("/tmp") != 0) {
    return tl::unexpected(Error::FromErrno("tmpfs on /tmp"));
  }
  for (const char* directory : {"oldroot", "new", "up", "work", "low"}) {
    auto made = MakeDirectory(directory, 0755);
    if (!made) return tl::unexpected(std::move(made).error());
  }
  // pivot_root, later, wants the new root to be a mount.
  if (syscall(SYS_pivot_root, ".", "oldroot") != 0 || chdir("/") != 0 ||
      mount("/new", "/new", nullptr, MS_BIND, nullptr) != 0) {
    return tl::unexpected(Error::FromErrno("changing the root"));
  }
  RootFs root;
  root.host_ = UniqueFd(open("/oldroot", O_PATH | O_DIRECTORY | O_CLOEXEC));
  root.root_ = UniqueFd(open("/new", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.host_.valid() || !root.root_.valid()) return tl::unexpected(Error::FromErrno("/"));
  return root;
}

Status RootFs::AddTools(std::vector<ToolTree> tools) {
  for (const char* directory : kToolDirectories) {
    auto added = AddToolTree(directory, tools);
    if (!added) return added;
  }
  return AddToolTree("/opt", tools);
}

Status RootFs::AddToolTree(const std::string& directory, const std::vector<ToolTree>& tools) {
  const std::string on_host = "/oldroot" + directory;
  struct stat info;
  if (lstat(on_host.c_str(), &info) != 0) return {};
  if (S_ISLNK(info.st_mode)) return CopyLink(on_host, "/new" + directory);
  if (!S_ISDIR(info.st_mode)) return {};
  if (IsEmptyDirectory(on_host)) return MakeDirectory("/new" + directory, 0755);
  for (const ToolTree& tool : tools) {
    if (tool.directory != directory) continue;
    const std::string low = "/low" + directory;
    auto made = MakeDirectory(low, 0755);
    if (!made) return made;
    if (move_mount(tool.tree.get(), "", AT_FDCWD, low.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) break;
    // An overlay of mapped ids needs Linux 5.19; before it, the host's own ids must do.
    const auto mounted = MountOverlay(low, directory);
    if (mounted && *mounted) return {};
    break;
  }
  return AddOverlay(on_host, directory);
}

Result<std::string> RootFs::Upper(const std::string& target) {
  const std::string upper = "/up" + target;
  auto made = MakeDirectories(AT_FDCWD, upper);
  if (!made) return tl::unexpected(std::move(made).error());
  return upper;
}

Result<bool> RootFs::MountOverlay(const std::string& lower, const std::string& target) {
  if (++overlays_ > kMaxOverlays) return Fail(Code::kLimit, lower + " has too many mounts in it");
  if (!IsPlainName(lower) || !IsPlainName(target)) return Fail(Code::kInvalid, lower);
  auto upper = Upper(target);
  if (!upper) return tl::unexpected(std::move(upper).error());
  const std::string work = "/work/" + std::to_string(overlays_);
  auto made = MakeDirectory(work, 0700);
  if (made) made = MakeDirectories(AT_FDCWD, "/new" + target);
  if (!made) return tl::unexpected(std::move(made).error());
  const std::string options =
      "lowerdir=" + lower + ",upperdir=" + *upper + ",workdir=" + work + ",userxattr";
  if (mount("overlay", ("/new" + target).c_str(), "overlay", MS_NOSUID | MS_NODEV | MS_SILENT,
            options.c_str()) == 0) {
    return true;
  }
  if (errno == EINVAL) return false;
  return tl::unexpected(Error::FromErrno("overlay on " + target));
}

Status RootFs::AddOverlay(const std::string& lower, const std::string& target) {
  auto mounted = MountOverlay(lower, target);
  if (!mounted) return tl::unexpected(std::move(mounted).error());
  return *mounted ? Status() : Mirror(lower, target, 0);
}

// Mounts that a plain user inherits are locked to what they cover, and no overlay takes a directory
// with such mounts below it. Then its entries are shown one by one.
Status RootFs::Mirror(const std::string& lower, const std::string& target, int depth) {
  if (depth > kMaxMirrorDepth) return Fail(Code::kLimit, lower + " has mounts too deep in it");
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(lower.c_str()), &closedir);
  if (directory == nullptr) return {};  // Not ours to read.
  auto made = MakeDirectories(AT_FDCWD, "/new" + target);
  if (!made) return made;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::string from = lower + "/" + name;
    const std::string inside = target + "/" + name;
    struct stat info;
    if (lstat(from.c_str(), &info) != 0) continue;
    Status shown;
    if (S_ISLNK(info.st_mode)) {
      shown = CopyLink(from, "/new" + inside);
    } else if (S_ISDIR(info.st_mode)) {
      auto mounted = MountOverlay(from, inside);
      if (!mounted) return tl::unexpected(std::move(mounted).error());
      if (!*mounted) shown = Mirror(from, inside, depth + 1);
    } else if (S_ISREG(info.st_mode)) {
      const UniqueFd file(open(from.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      shown = CreateFile(root_.get(), inside.substr(1), "");
      if (shown) shown = BindReadOnly(file, root_.get(), inside.substr(1));
    }
    if (!shown) return shown;
  }
  return {};
}

Status RootFs::AddReadOnly(const std::string& source, const std::string& target) {
  const UniqueFd directory = OpenInRoot(host_.get(), source, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  return directory.valid() ? AddReadOnly(directory, target) : Status();
}

Status RootFs::AddReadOnly(const UniqueFd& source, const std::string& target) {
  const std::string place = target.substr(1);
  auto made = MakeDirectories(root_.get(), place);
  if (!made) return made;
  return BindReadOnly(source, root_.get(), place);
}

Status RootFs::AddEmptyDirectories() {
  struct Directory {
    const char* path;
    mode_t mode;
  };
  constexpr Directory kDirectories[] = {
      {"/new/proc", 0555},    {"/new/sys", 0555},       {"/new/dev", 0755},
      {"/new/tmp", 01777},    {"/new/run", 0755},       {"/new/run/lock", 01777},
      {"/new/root", 0700},    {"/new/home", 0755},      {"/new/mnt", 0755},
      {"/new/opt", 0755},     {"/new/srv", 0755},       {"/new/etc", 0755},
      {"/new/var", 0755},     {"/new/var/cache", 0755}, {"/new/var/lib", 0755},
      {"/new/var/log", 0755}, {"/new/var/spool", 0755}, {"/new/var/tmp", 01777},
  };
  for (const Directory& directory : kDirectories) {
    if (mkdir(directory.path, directory.mode) != 0) {
      if (errno == EEXIST) continue;  // /opt, from the host.
      return tl::unexpected(Error::FromErrno(directory.path));
    }
    if ((directory.mode & S_ISVTX) != 0 && chmod(directory.path, directory.mode) != 0) {
      return tl::unexpected(Error::FromErrno(directory.path));
    }
  }
  if (symlink("../run", "/new/var/run") != 0 || symlink("../run/lock", "/new/var/lock") != 0) {
    return tl::unexpected(Error::FromErrno("/var/run"));
  }
  return {};
}

Status RootFs::Leave() {
  host_.reset();
  root_.reset();
  if (chdir("/new") != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
      umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
    return tl::unexpected(Error::FromErrno("changing the root"));
  }
  return {};
}

}  // namespace sallyport::runtime
