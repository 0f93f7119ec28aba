#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/backend/backend.h"

namespace sallyport::runtime {

/// A WorkloadSpec that was checked against the host. Made before anything of it is done, so that
/// most mistakes are told in the words of the user.
struct Plan {
  struct Mount {
    std::string source;  ///< Resolved: no link in it.
    std::string target;
    bool writable = false;
    bool directory = false;
    uid_t owner = 0;  ///< Of the source.
    gid_t group = 0;
    std::vector<std::string> hidden;     ///< Relative to the source; they exist.
    std::vector<std::string> host_runs;  ///< The same; read-only where the mount is writable.
  };
  std::string hostname;
  bool network = true;
  std::string agent_path;  ///< Resolved, if it exists.
  std::vector<Mount> mounts;
  std::vector<std::string> masked;  ///< Resolved as far as they exist.
};

/// More are a mistake; also what fits into one packet of descriptors.
constexpr size_t kMaxMounts = 128;

/// kNotFound for a source that is missing, kInvalid for a target that is not possible, kDenied for
/// a mount that would show what is masked.
Result<Plan> MakePlan(const WorkloadSpec& spec);

/// A plan as bytes, for the sandbox's first process, and back.
std::string EncodePlan(const Plan& plan);
Result<Plan> DecodePlan(std::string_view bytes);

}  // namespace sallyport::runtime
