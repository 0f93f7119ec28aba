#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sallyport {

enum class FileKind {
  kRegular,  ///< What else it is (a FIFO, a device) is refused at once: reading it could take forever.
  /// Also a FIFO, such as a shell's <(...): for what the user names himself. It is read until nobody
  /// writes to it any more.
  kRegularOrPipe,
  kAny,
};
/// A program that writes a policy has this long. Who types it by hand into a FIFO uses a file instead.
inline constexpr std::chrono::milliseconds kMostPipeTime{10'000};

/// The whole of PATH. kLimit past MOST bytes; kInvalid for what is no regular file; kTimeout for a FIFO
/// whose end does not come within PIPE_TIME; kSystem names the file and the reason.
Result<std::string> ReadFile(const std::string& path, size_t most,
                             FileKind kind = FileKind::kRegular,
                             std::chrono::milliseconds pipe_time = kMostPipeTime);

/// Whether PATH is a FIFO, or leads to one: it can be read once.
bool IsPipe(const std::string& path);

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
