#pragma once

#include <string>
#include <vector>

namespace sallyport {

/// What decides where a path leads.
struct PathWalk {
  /// Each directory in which a name is looked up on the way, resolved: whoever may write to one of
  /// them decides what the path means from there on.
  std::vector<std::string> folders;
  /// Those of them in which a link was found.
  std::vector<std::string> links;
  /// Where it leads, resolved as far as it exists.
  std::string end;
};

/// Goes along PATH (from FOLDER, absolute, when it is relative) as open(2) would, and notes the
/// steps, of links too. Ends at the first name that is missing or can't be looked up, and after 40
/// links, as the kernel does: what is beyond depends on nothing yet.
PathWalk WalkPath(const std::string& path, const std::string& folder);

}  // namespace sallyport
