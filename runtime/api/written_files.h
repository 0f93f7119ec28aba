#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/api/host_paths.h"

namespace sallyport {

/// What a running sandbox runs on, and what it is shown of this host.
struct RunsOn {
  std::string file;  ///< Its policy.
  std::vector<HostMount> mounts;
};
Result<RunsOn> AskWhatItRunsOn(std::string_view sandbox);

/// kDenied when a sandbox that runs could change where PATH leads to, or what is written there: a
/// command is about to write a policy to it. WHAT names it in the message.
Status CheckWrittenFile(const std::string& what, const std::string& path);

}  // namespace sallyport
