#pragma once

#include <memory>

#include "policy/hook_run.h"

namespace sallyport::policy {

/// A flow that no rule decided, on its way through the on.connect functions.
class FlowDecision final : public SuspendedFlow,
                           public std::enable_shared_from_this<FlowDecision> {
 public:
  /// DECISION is what the rules said, none of which decides.
  FlowDecision(std::shared_ptr<LoadedScript> script, RuleSet::FlowDecision decision,
               const Facts& facts);

  FlowVerdict Begin();
  const Wait& wait() const override { return run_.wait(); }
  FlowVerdict Resume(WaitResult result) override;

 private:
  FlowVerdict After(HookRun::State state);
  FlowVerdict Accepted();

  const std::shared_ptr<LoadedScript> script_;
  RuleSet::FlowDecision decision_;
  const Facts facts_;
  HookRun run_;
};

/// A flow that an `ask` rule speaks of: GRANTED, if the user says yes.
class FlowQuestion final : public SuspendedFlow {
 public:
  FlowQuestion(std::shared_ptr<const LoadedScript> script, const Rule& rule, const Facts& facts,
               FlowVerdict granted);

  const Wait& wait() const override { return wait_; }
  FlowVerdict Resume(WaitResult result) override;

 private:
  const std::shared_ptr<const LoadedScript> script_;
  const Wait wait_;
  const std::string what_;
  FlowVerdict granted_;
};

/// The verdict that waits for SUSPENDED.
FlowVerdict Await(std::shared_ptr<SuspendedFlow> suspended);

/// The denial of a flow that no callback decides, with DECISION of the rules of SCRIPT.
FlowVerdict DeniedByRules(const std::shared_ptr<LoadedScript>& script,
                          const RuleSet::FlowDecision& decision);
/// RULE, which is one of SCRIPT's, with SCRIPT kept alive.
std::shared_ptr<const Rule> Share(const std::shared_ptr<LoadedScript>& script, const Rule* rule);

/// The on.connect functions that speak of a flow to NAME, or to no name.
std::vector<HookRun::Function> ConnectFunctions(const LoadedScript& script,
                                                const std::optional<HostName>& name);

}  // namespace sallyport::policy
