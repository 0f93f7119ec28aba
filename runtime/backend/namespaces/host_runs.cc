#include "runtime/backend/namespaces/host_runs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

// 10 us each: the search is over in 50 ms, whatever the folder holds.
constexpr size_t kMaxFolders = 4096;
constexpr int kMaxDepth = 8;
// Folders with more names than these are full on purpose; 0.3 us each.
constexpr size_t kMaxEntries = 1 << 18;
// Each is a mount, with one more for each folder that leads there.
constexpr size_t kMaxFound = 512;

constexpr const char* kAtTheTop[] = {".envrc", ".vscode"};
constexpr const char* kOfGit[] = {"config", "config.worktree", "hooks", "commondir", "gitdir"};
constexpr const char* kWithGitDirectories[] = {"modules", "worktrees"};

struct Folder {
  std::string path;  ///< Relative to the source; "" is the source.
  int depth = 0;
  bool in_git = false;  ///< A git directory by its name.
};

using Entries = std::map<std::string, unsigned char>;  // Name and DT_*; not all, see Matters().

std::string Below(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

unsigned char KindOf(int directory, const dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type;
  struct stat info {};
  if (fstatat(directory, entry.d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
  return static_cast<unsigned char>(IFTODT(info.st_mode));
}

/// Whether the search asks for this name, or goes on there.
bool Matters(const std::string& name, unsigned char kind) {
  if (kind == DT_DIR || name == ".git" || name == "HEAD") return true;
  const auto is_name = [&name](const char* known) { return name == known; };
  return std::any_of(std::begin(kAtTheTop), std::end(kAtTheTop), is_name) ||
         std::any_of(std::begin(kOfGit), std::end(kOfGit), is_name);
}

/// Nothing for a folder that is gone, or not the user's to read: then neither can the guest, who is
/// its owner at most.
Entries ReadFolder(int source, const std::string& path, size_t& entries_left) {
  Entries entries;
  UniqueFd opened = OpenPlain(source, path, O_RDONLY | O_DIRECTORY);
  if (!opened.valid()) return entries;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(fdopendir(opened.get()), &closedir);
  if (directory == nullptr) return entries;
  (void)opened.release();
  while (const dirent* entry = readdir(directory.get())) {
    if (entries_left == 0) break;
    --entries_left;
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const unsigned char kind = KindOf(dirfd(directory.get()), *entry);
    if (Matters(name, kind)) entries.emplace(name, kind);
  }
  return entries;
}

/// As git knows one; that of a linked work tree has no objects of its own.
bool IsGitDirectory(const Entries& entries) {
  if (!entries.contains("HEAD")) return false;
  return entries.contains("commondir") || (entries.contains("objects") && entries.contains("refs"));
}

class Search {
 public:
  explicit Search(int source) : source_(source) {}

  Result<std::vector<std::string>> Run() {
    folders_.push_back({});
    for (size_t seen = 0; seen < kMaxFolders && !folders_.empty(); ++seen) {
      const Folder folder = std::move(folders_.front());
      folders_.pop_front();
      Look(folder);
      if (found_.size() > kMaxFound) {
        return Fail(Code::kLimit, "more than " + std::to_string(kMaxFound) +
                                      " files that git on the host obeys; mount a smaller folder, "
                                      "or mount read-only");
      }
    }
    return std::move(found_);
  }

 private:
  void Look(const Folder& folder) {
    const Entries entries = ReadFolder(source_, folder.path, entries_left_);
    if (folder.in_git || IsGitDirectory(entries)) {
      for (const char* name : kOfGit) AddIfThere(folder, entries, name);
      for (const char* name : kWithGitDirectories) {
        if (entries.contains(name)) Descend(folder, name, entries.at(name));
      }
      return;
    }
    if (folder.path.empty()) {
      for (const char* name : kAtTheTop) AddIfThere(folder, entries, name);
    }
    for (const auto& [name, kind] : entries) {
      if (name == ".git" && kind != DT_DIR) found_.push_back(Below(folder.path, name));
      Descend(folder, name, kind);
    }
  }

  void AddIfThere(const Folder& folder, const Entries& entries, const char* name) {
    if (entries.contains(name)) found_.push_back(Below(folder.path, name));
  }

  void Descend(const Folder& folder, const std::string& name, unsigned char kind) {
    if (kind != DT_DIR || folder.depth == kMaxDepth) return;
    const bool is_git = name == ".git";
    Folder next{Below(folder.path, name), folder.depth + 1, is_git};
    // First, so that no number of folders beside a repository keeps it from being looked at.
    if (is_git) return (void)folders_.push_front(std::move(next));
    folders_.push_back(std::move(next));
  }

  const int source_;
  size_t entries_left_ = kMaxEntries;
  std::deque<Folder> folders_;
  std::vector<std::string> found_;
};

}  // namespace

Result<std::vector<std::string>> FindWhatHostRuns(const std::string& source) {
  const UniqueFd directory(open(source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return tl::unexpected(Error::FromErrno(source));
  return Search(directory.get()).Run();
}

}  // namespace sallyport::runtime
