#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "secrets/locked_memory.h"

namespace sallyport::runtime {

/// Variables of the user's environment, on their way to those who need them: in locked memory,
/// which no child of this process sees, and wiped when they go. They are never anywhere else.
class Variables {
 public:
  /// None at all.
  Variables() = default;

  /// Reads VALUES, a pipe that is complete (NAME, NUL, value, NUL, …), to its end; none when it is
  /// invalid. What has no end is no variable. kLimit: they are too many, or can't be locked.
  static Result<Variables> Read(const UniqueFd& values);

  /// What Send() sends at the other end of the blocking SOCKET. kSystem when that is gone.
  static Result<Variables> Receive(int socket);
  Status Send(int socket) const;

  /// The value of NAME, as long as this lives.
  std::optional<std::string_view> Find(std::string_view name) const;

  /// "NAME=value" each and a null, as execve() takes them; they point into this.
  std::vector<char*> ForExec();

 private:
  explicit Variables(secrets::LockedMemory bytes) : bytes_(std::move(bytes)) {}

  secrets::LockedMemory bytes_;  // "NAME=value" with a NUL each, and what is not used: zeros.
};

}  // namespace sallyport::runtime
