#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/live_engine.h"
#include "runtime/warden/control_message.h"
#include "runtime/warden/launch.h"
#include "runtime/warden/reload_message.h"
#include "secrets/store.h"

namespace sallyport::runtime {

/// `sandboxctl policy reload` in a sandbox that runs. Either all of a policy comes into force, or
/// nothing changes and the reply says why:
///
///     Decode -> CheckFiles -> load -> CheckSecrets -> the store -> the engine, in force -> cut
///     flows
///
/// What only a start can give (mounts, the environment, resolvers, `upstream`) stays as it is, and
/// is a warning where the new file asks for something else. Callbacks start anew, without what they
/// knew.
class PolicyReload {
 public:
  struct Services {
    policy::LiveEngine& engine;
    secrets::Store& secrets;
    /// Of the sandbox: its mounts, what they don't show, the policy it runs on. Kept up to date.
    Launch& launch;
    /// The source of the secret NAME is not asked any more.
    std::function<void(const std::string& name)> forget;
    /// Calls REPLACE, which puts the new policy into force, cuts what it denies, and returns how
    /// many flows that were.
    std::function<size_t(const std::function<void()>& replace)> in_force;
  };
  explicit PolicyReload(Services services) : services_(std::move(services)) {}

  /// ATTACHED has a ReloadMessage. The reply's text is a sentence, its rows are warnings.
  ControlReply Run(const UniqueFd& attached);

 private:
  struct Plan;

  Status CheckFiles(const ReloadMessage& message) const;
  Status CheckSecrets(const ReloadMessage& message, Plan& plan) const;
  Result<Plan> Load(const ReloadMessage& message) const;
  Result<std::string> Apply(const ReloadMessage& message, Plan plan);

  Services services_;
};

/// What becomes of that which the policy of LAUNCH, or one that takes its place, does not cover.
policy::Engine::Uncovered UncoveredOf(const Launch& launch);

/// Where NEXT asks for something that only a start gives, and that is not as in RUNNING: a warning
/// each.
std::vector<std::string> UnchangeableParts(const policy::Engine& running,
                                           const policy::Engine& next);

}  // namespace sallyport::runtime
