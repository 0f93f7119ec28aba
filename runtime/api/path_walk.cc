#include "runtime/api/path_walk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

namespace sallyport {
namespace {

constexpr int kMaxLinks = 40;  // MAXSYMLINKS of the kernel.

/// Takes the first name off PATH; "" at its end.
std::string NextName(std::string& path) {
  const size_t start = path.find_first_not_of('/');
  if (start == std::string::npos) {
    path.clear();
    return {};
  }
  const size_t end = std::min(path.find('/', start), path.size());
  std::string name = path.substr(start, end - start);
  path.erase(0, end);
  return name;
}

std::string Below(const std::string& folder, const std::string& name) {
  return folder == "/" ? "/" + name : folder + "/" + name;
}

std::string ParentOf(const std::string& folder) {
  const size_t slash = folder.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : folder.substr(0, slash);
}

std::string LinkAt(const std::string& path) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  return size <= 0 ? "" : std::string(target.data(), static_cast<size_t>(size));
}

}  // namespace

PathWalk WalkPath(const std::string& path, const std::string& folder) {
  PathWalk walk;
  walk.end = "/";
  std::string left = path.starts_with('/') ? path : folder + "/" + path;
  int links = 0;
  for (std::string name = NextName(left); !name.empty(); name = NextName(left)) {
    if (name == ".") continue;
    if (name == "..") {
      walk.end = ParentOf(walk.end);
      continue;
    }
    walk.folders.push_back(walk.end);
    const std::string next = Below(walk.end, name);
    struct stat info {};
    if (lstat(next.c_str(), &info) != 0) {
      walk.end = next;
      return walk;
    }
    if (!S_ISLNK(info.st_mode)) {
      walk.end = next;
      continue;
    }
    walk.links.push_back(walk.end);
    const std::string target = LinkAt(next);
    if (target.empty() || ++links > kMaxLinks) return walk;
    if (target.starts_with('/')) walk.end = "/";
    left.insert(0, target + "/");
  }
  return walk;
}

}  // namespace sallyport
