#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/warden/control_message.h"

namespace sallyport {

/// One of this user's sandboxes that run now.
struct RunningSandbox {
  std::string id;
  /// It has its name, but does not answer yet: nothing else is known of it. So is one that was
  /// stopped by a signal.
  bool starting = false;
  std::string policy;   ///< The file's name.
  std::string backend;  ///< "namespace".
  std::string link;     ///< "tap", "packet", "none".
};

/// All of them, in the order of their ids. Waits for those that don't answer for 2 s, together.
Result<std::vector<RunningSandbox>> ListSandboxes();

/// The reply of SANDBOX, an id or the beginning of just one. An error of the sandbox is the result's.
Result<runtime::ControlReply> AskSandbox(std::string_view sandbox, const runtime::ControlRequest& request,
                                         const UniqueFd& attached = UniqueFd());

/// The id that SANDBOX is, or begins; SANDBOX itself where there is none. kInvalid when it begins several.
Result<std::string> CompleteSandboxId(std::string_view sandbox);

/// A connection to sandbox ID of OWNER. kNotFound when no such sandbox runs; kDenied when whoever
/// listens there is not OWNER.
Result<UniqueFd> ConnectToControl(uid_t owner, std::string_view id);

/// A file of memory with VALUE, to be attached.
Result<UniqueFd> ValueFile(std::string_view value);

}  // namespace sallyport
