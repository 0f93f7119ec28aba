#include "runtime/api/shown_places.h"

#include <sys/stat.h>

#include <algorithm>

#include "runtime/api/files.h"

namespace sallyport {
namespace {

constexpr size_t kMaxMountInfo = 16 * 1024 * 1024;  // The kernel's limit is 100,000 mounts.

/// "\040" and the like, as /proc/self/mountinfo has them, read back.
std::string Unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size()) {
      plain += text[i];
      continue;
    }
    plain +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
    i += 3;
  }
  return plain;
}

/// The fifth field of each line, proc(5).
std::vector<std::string> MountPoints() {
  std::vector<std::string> points;
  const auto table = ReadFile("/proc/self/mountinfo", kMaxMountInfo);
  if (!table) return points;
  for (std::string_view line : Lines(*table)) {
    for (int field = 1; field < 5; ++field) {
      line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
      if (line.empty()) break;
    }
    if (!line.empty()) points.push_back(Unescaped(line.substr(0, line.find(' '))));
  }
  return points;
}

}  // namespace

ShownPlaces::ShownPlaces(const std::vector<std::string>& sources) {
  if (sources.empty()) return;
  const auto points = MountPoints();
  for (const auto& source : sources) {
    Add(source, source);
    for (const auto& point : points) {
      if (point.starts_with(source + "/")) Add(source, point);
    }
  }
}

void ShownPlaces::Add(const std::string& source, const std::string& path) {
  Place place{.source = source, .path = path};
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    place.device = info.st_dev;
    place.inode = info.st_ino;
  }
  places_.push_back(std::move(place));
}

const ShownPlaces::Place* ShownPlaces::At(const std::string& path) const {
  struct stat info {};
  const bool exists = lstat(path.c_str(), &info) == 0;
  const auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& place) {
    return place.path == path || (exists && place.inode != 0 && place.inode == info.st_ino &&
                                  place.device == info.st_dev);
  });
  return found == places_.end() ? nullptr : &*found;
}

std::optional<std::string> ShownPlaces::Showing(const std::string& path) const {
  if (places_.empty()) return std::nullopt;
  std::string at = path;
  while (true) {
    if (const Place* place = At(at)) return place->source;
    const size_t slash = at.rfind('/');
    if (at.size() <= 1 || slash == std::string::npos) return std::nullopt;
    at.resize(std::max<size_t>(slash, 1));
  }
}

}  // namespace sallyport
