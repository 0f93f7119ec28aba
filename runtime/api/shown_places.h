#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace sallyport {

/// The places of the host that a sandbox's mounts show. A place is known by what it is, not by its
/// path alone: a folder that the host has at two paths (a bind mount) is found by both. What
/// differs in its path only by a hard link is not.
class ShownPlaces {
 public:
  /// SOURCES: folders and files, resolved; with each comes what is mounted below it.
  explicit ShownPlaces(const std::vector<std::string>& sources);

  /// The source of the mount that shows PATH (resolved; may be missing), if one does.
  std::optional<std::string> Showing(const std::string& path) const;

 private:
  struct Place {
    std::string source;
    std::string path;
    dev_t device = 0;
    ino_t inode = 0;  ///< 0: known by its path alone.
  };
  const Place* At(const std::string& path) const;
  void Add(const std::string& source, const std::string& path);

  std::vector<Place> places_;
};

}  // namespace sallyport
