#pragma once

#include <memory>

#include "policy/hook_run.h"

namespace sallyport::policy {

/// An answer on its way through the on.response functions.
class ResponseDecision final : public SuspendedResponse,
                               public std::enable_shared_from_this<ResponseDecision> {
 public:
  ResponseDecision(std::shared_ptr<LoadedScript> script, const Facts& facts, const TlsFacts& tls,
                   const RequestHead& request, const ResponseHead& response);

  /// RESPONSE is changed if the verdict is kForward.
  ResponseVerdict Begin(ResponseHead& response);
  const Wait& wait() const override { return run_.wait(); }
  ResponseVerdict Resume(WaitResult result, ResponseHead& response) override;

 private:
  Call MakeCall();
  ResponseVerdict After(HookRun::State state, ResponseHead& response);

  const std::shared_ptr<LoadedScript> script_;
  const Facts facts_;
  const TlsFacts tls_;
  RequestHead request_;
  ResponseHead changed_;
  HookRun run_;
};

/// Whether any function is to see answers of this flow.
bool HasResponseFunctions(const LoadedScript& script, const Facts& facts);

}  // namespace sallyport::policy
