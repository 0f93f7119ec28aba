#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

/// Descriptors a warden is born with, besides 2 (stderr).
enum WardenFd : int {
  kControlFd = 3,  ///< Byte stream to the owner (guest/protocol/frame.h).
  kLaunchFd = 4,   ///< A memory file that holds a Launch.
  kAuditFd = 5,    ///< The audit log, opened for appending.
  kValuesFd = 6,   ///< The read end of a pipe with the values of `env` secrets; for the broker alone.
};
constexpr int kFirstFreeFd = 7;

/// Everything a warden must know to start its sandbox; what it does not hold it can't open later.
struct Launch {
  struct Mount {
    std::string source;
    std::string target;
    bool writable = false;
  };
  struct NamedSecret {  ///< --secret NAME@HOST[,HOST]
    std::string name;
    std::vector<std::string> hosts;
  };

  std::string sandbox;  ///< The sandbox's id, for the audit log and people.
  std::string policy_text;
  std::string policy_name;
  std::string policy_folder;
  std::vector<NamedSecret> secrets;
  std::string hostname;
  std::vector<Mount> mounts;
  std::vector<std::string> masked;     ///< Host paths that no mount may show.
  bool network = true;
  std::vector<std::string> resolvers;  ///< "192.0.2.1:53".
  std::vector<std::pair<std::string, std::string>> extra_roots;  ///< File name and PEM text.
  std::string agent_path;
  std::chrono::milliseconds timeout{0};  ///< 0: none.

  std::string Encode() const;
  /// kInvalid for anything that Encode() did not write.
  static Result<Launch> Decode(std::string_view bytes);
};

/// What a warden says once its sandbox is up (kLaunched).
struct Launched {
  std::string sandbox;
  std::string backend;  ///< "namespace".
  std::string link;     ///< "tap", "packet", "none".
  std::string Encode() const;
  static Result<Launched> Decode(std::string_view bytes);
};

/// The values of `env` secrets on their way to the broker: NAME, NUL, value, NUL, ….
std::string EncodeValues(const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace sallyport::runtime
