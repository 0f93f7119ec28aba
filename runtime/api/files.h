#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sallyport {

enum class FileKind {
  kRegular,  ///< What else it is (a FIFO, a device) is refused at once: reading it could take forever.
  kAny,
};
/// The whole of PATH. kLimit past MOST bytes; kInvalid for what is no regular file; kSystem names the
/// file and the reason.
Result<std::string> ReadFile(const std::string& path, size_t most,
                             FileKind kind = FileKind::kRegular);

/// PATH with every symbolic link followed; it must exist.
Result<std::string> ResolvePath(const std::string& path);

std::vector<std::string_view> Lines(std::string_view text);

/// Where this user's state lives: $XDG_STATE_HOME/sallyport, else ~/.local/state/sallyport; for root
/// /var/lib/sallyport. kNotFound when neither variable says where.
Result<std::string> StateFolder();

/// Makes PATH and what leads to it, for the user alone (0700).
Status MakeFolders(const std::string& path);

/// "sp-" and ten random letters and digits.
std::string NewSandboxId();

/// The programs that belong to this one.
struct Helpers {
  std::string warden;
  std::string agent;
  std::string broker;
};
/// $SALLYPORT_LIBEXEC_DIR, beside this program, or ../libexec/sallyport. kNotFound says where it looked.
Result<Helpers> FindHelpers();

}  // namespace sallyport
