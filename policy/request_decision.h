#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/hook_run.h"
#include "policy/http_grant.h"

namespace sallyport::policy {

/// A request that the rules grant, on its way through the functions that may change, refuse or
/// answer it, and to the user where a rule asks.
///
/// A request whose path has another normalised form goes through the functions twice, as servers
/// may take either: one that is refused in either form is refused. In the second pass the results
/// of waits are those of the first.
class RequestDecision final : public SuspendedRequest,
                              public std::enable_shared_from_this<RequestDecision> {
 public:
  struct Input {
    const HttpGrant& grant;  ///< Outlives this.
    const Facts& facts;
    const TlsFacts& tls;
    const RequestHead& request;
    std::optional<std::string> other_path;  ///< Its normalised form, where that is another.
    RequestVerdict granted;                 ///< What it becomes if nothing is against it.
    const Rule* asks = nullptr;             ///< The rule that asks, of the script's rules or of GRANT.
  };
  RequestDecision(std::shared_ptr<LoadedScript> script, Input input);

  /// REQUEST is changed if the verdict is kForward.
  RequestVerdict Begin(RequestHead& request);
  const Wait& wait() const override { return *wait_; }
  RequestVerdict Resume(WaitResult result, RequestHead& request) override;

 private:
  enum class Stage { kFunctions, kOtherPath, kUser };
  struct Waited {
    Wait wait;
    WaitResult result;
  };

  std::unique_ptr<HookRun> MakeRun(RequestHead& request);
  RequestVerdict AfterFunctions(HookRun::State state, RequestHead& request);
  std::optional<RequestVerdict> CheckChanged() const;
  RequestVerdict CheckOtherPath(RequestHead& request);
  RequestVerdict AskUser(RequestHead& request);
  RequestVerdict Forward(RequestHead& request);
  std::optional<RequestVerdict> Outcome(HookRun::State state);
  RequestVerdict Suspend();

  const std::shared_ptr<LoadedScript> script_;
  const HttpGrant& grant_;
  const Facts facts_;
  const TlsFacts tls_;
  const RequestHead original_;
  const std::optional<std::string> other_path_;
  RequestVerdict granted_;
  const std::optional<AskWait> question_;
  const std::vector<HookRun::Function> functions_;

  Stage stage_ = Stage::kFunctions;
  RequestHead changed_;
  std::unique_ptr<HookRun> run_;
  std::optional<Wait> wait_;
  std::vector<Waited> waited_;
};

/// 400: servers may take REQUEST for another that is decided otherwise, as WHY says.
RequestVerdict RefuseAmbiguous(const Facts& facts, const RequestHead& request,
                               const std::string& why);

/// Whether any function is to see a request.
bool HasRequestFunctions(const LoadedScript& script, const HttpGrant& grant, const Facts& facts);

}  // namespace sallyport::policy
