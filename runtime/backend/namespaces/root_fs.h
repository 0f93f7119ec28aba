#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/backend/namespaces/trees.h"

namespace sallyport::runtime {

/// The file system of a sandbox while it is being built. One tmpfs holds everything:
///
///     /oldroot   the host's root, as it was
///     /up /work  what is written over the host's tools (the upper layers of the overlays)
///     /low       the host's tools with mapped ids, where the launcher gave them
///     /new       becomes the sandbox's root
///
/// The process is inside it from Create() to Leave(); after that only /new is left, and the uppers
/// can be reached through the overlays alone. It is gone with the last process of the sandbox.
///
/// The host's directories are shown through overlays, not binds: writes go to the tmpfs, and a unix
/// socket in them can't be connected to, as one could through even a read-only bind.
class RootFs {
 public:
  /// Mounts the tmpfs and moves into it.
  static Result<RootFs> Create();

  /// The host's tools: /usr and /opt, and /bin, /lib and so on as links or directories; from TOOLS
  /// where they have mapped ids. Nothing else of the host's root: it may hold anything.
  Status AddTools(std::vector<ToolTree> tools);
  /// The directories that every program expects, empty and owned by the guest's root.
  Status AddEmptyDirectories();
  /// Shows the host's directory LOWER (below /oldroot) at TARGET (absolute inside), with what is in
  /// UPPER() of that target over it.
  Status AddOverlay(const std::string& lower, const std::string& target);
  /// The upper layer for TARGET, created if need be. What is put there appears in the overlay.
  Result<std::string> Upper(const std::string& target);
  /// Shows the host's directory SOURCE (absolute on the host) read-only at TARGET: for root's own
  /// folders of settings, where nobody else can put a socket.
  Status AddReadOnly(const std::string& source, const std::string& target);
  /// The same for the opened directory SOURCE.
  Status AddReadOnly(const UniqueFd& source, const std::string& target);

  /// /new becomes the root; nothing of the host stays in reach.
  Status Leave();

  int host() const { return host_.get(); }  ///< /oldroot
  int root() const { return root_.get(); }  ///< /new

 private:
  RootFs() = default;
  Status AddToolTree(const std::string& directory, const std::vector<ToolTree>& tools);
  Status Mirror(const std::string& lower, const std::string& target, int depth);
  /// False when the kernel can't make one of LOWER.
  Result<bool> MountOverlay(const std::string& lower, const std::string& target);

  UniqueFd host_;
  UniqueFd root_;
  unsigned overlays_ = 0;
};

}  // namespace sallyport::runtime
