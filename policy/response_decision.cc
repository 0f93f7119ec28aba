#include "policy/response_decision.h"

#include <algorithm>
#include <utility>

#include "policy/explain.h"

namespace sallyport::policy {
namespace {

std::vector<HookRun::Function> ResponseFunctions(const LoadedScript& script, const Facts& facts) {
  std::vector<HookRun::Function> functions;
  for (const Hook& hook : script.declared.on_response) {
    if (hook.SpeaksOf(facts.name)) functions.push_back({hook.reference, hook.id});
  }
  return functions;
}

}  // namespace

ResponseDecision::ResponseDecision(std::shared_ptr<LoadedScript> script, const Facts& facts,
                                   const TlsFacts& tls, const RequestHead& request,
                                   const ResponseHead& response)
    : script_(std::move(script)),
      facts_(facts),
      tls_(tls),
      request_(request),
      changed_(response),
      run_(script_, ResponseFunctions(*script_, facts_), MakeCall()) {}

Call ResponseDecision::MakeCall() {
  Call call;
  call.kind = Call::Kind::kResponse;
  call.facts = &facts_;
  call.tls = &tls_;
  call.request = &request_;
  call.answer = &changed_;
  return call;
}

ResponseVerdict ResponseDecision::Begin(ResponseHead& response) {
  return After(run_.Start(), response);
}

ResponseVerdict ResponseDecision::Resume(WaitResult result, ResponseHead& response) {
  return After(run_.Resume(std::move(result)), response);
}

ResponseVerdict ResponseDecision::After(HookRun::State state, ResponseHead& response) {
  ResponseVerdict verdict;
  Call& call = run_.call();
  if (state == HookRun::State::kWaiting) {
    verdict.action = ResponseVerdict::Action::kWait;
    verdict.suspended = shared_from_this();
  } else if (state == HookRun::State::kFailed) {
    verdict.refusal = ExplainFailure(run_.failure(), run_.id());
  } else if (call.decision == Call::Decision::kDenied) {
    verdict.refusal = ExplainHook(call.reason, run_.id());
    verdict.refusal.status = call.status;
  } else {
    verdict.action = ResponseVerdict::Action::kForward;
    verdict.body = std::move(call.new_body);
    response = std::move(changed_);
  }
  return verdict;
}

bool HasResponseFunctions(const LoadedScript& script, const Facts& facts) {
  const auto& hooks = script.declared.on_response;
  return std::any_of(hooks.begin(), hooks.end(),
                     [&facts](const Hook& hook) { return hook.SpeaksOf(facts.name); });
}

}  // namespace sallyport::policy
