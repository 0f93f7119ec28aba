#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret_source.h"
#include "policy/engine.h"

namespace sallyport {

/// A path that this host obeys: what it says or holds counts, so no sandbox may have a hand in it.
struct HostPath {
  enum class Use {
    kObeyed,  ///< Read, run or written to; may be seen.
    kValue,   ///< Holds the value of a secret: may not be seen either.
    kShown,   ///< Mounted: as any other folder below a mount, unless a link says which it is.
  };
  std::string what;      ///< For messages: "policy.lua:3: secret T: its file".
  std::string path;      ///< As it is spelled: links on its way count.
  std::string folder{};  ///< Where it starts when it is relative.
  Use use = Use::kObeyed;
};

/// What a policy makes this host read or run: the files of its secrets, keys and certificates, its
/// templates and the sources of its mounts, and of each command its program with what interprets
/// it, its arguments that may be paths, and the folders of PATH. A path inside a longer text (`sh
/// -c`) or inside a program is not known.
std::vector<HostPath> PathsOf(const policy::Engine& engine);

/// What a `command` makes this host run; WHAT names it in messages.
void AddCommand(const std::string& what, const CommandSource& command,
                std::vector<HostPath>& paths);

/// What is read or run for SOURCE; WHAT names it in messages.
void AddSource(const std::string& what, const SecretSource& source, std::vector<HostPath>& paths);

/// What mounts show to a sandbox.
struct HostMount {
  std::string source;  ///< Resolved.
  bool writable = false;
};

/// kDenied when a sandbox with MOUNTS could change what one of PATHS means: where it leads to, or a
/// folder or link that it is looked up by, lies in a writable one. Also when a value lies in any:
/// a mask covers one file, and what takes that file's place by rename would be seen. Covering
/// what is writable would not do at all: the guest renames the folder around it.
Status CheckHostPaths(const std::vector<HostPath>& paths, const std::vector<HostMount>& mounts);

}  // namespace sallyport
