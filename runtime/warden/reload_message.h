#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

/// A policy on its way to a sandbox that runs: the file of memory attached to "policy reload".
struct ReloadMessage {
  std::string text;
  std::string name;    ///< For messages: "policy.lua".
  std::string folder;  ///< Absolute; where relative paths start.
  /// What was read for it, links followed: the policy, and files that secrets come from. None may
  /// be where the sandbox can write.
  std::vector<std::string> files;
  /// Secrets that `env` and `file` name, as far as they could be read: name and value.
  std::vector<std::pair<std::string, std::string>> values;

  /// Holds values: to be wiped.
  std::string Encode() const;
  /// kInvalid for anything that Encode() did not write.
  static Result<ReloadMessage> Decode(std::string_view bytes);
};

/// A policy has at most 1 MiB, and 512 secrets of 64 KiB would be a mistake.
inline constexpr size_t kMaxReloadMessage = size_t{4} << 20;

}  // namespace sallyport::runtime
