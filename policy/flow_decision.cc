#include "policy/flow_decision.h"

#include <string>
#include <utility>

#include "policy/explain.h"
#include "policy/http_grant.h"
#include "policy/learning.h"
#include "policy/raw_guard.h"
#include "policy/script_host.h"

namespace sallyport::policy {
namespace {

Call CallAbout(const Facts& facts) {
  Call call;
  call.kind = Call::Kind::kFlow;
  call.facts = &facts;
  return call;
}

FlowVerdict Refuse(Refusal refusal) {
  FlowVerdict verdict;
  verdict.said = std::make_shared<Refusal>(std::move(refusal));
  return verdict;
}

}  // namespace

FlowDecision::FlowDecision(std::shared_ptr<LoadedScript> script, RuleSet::FlowDecision decision,
                           const Facts& facts)
    : script_(std::move(script)),
      decision_(std::move(decision)),
      facts_(facts),
      run_(script_, ConnectFunctions(*script_, facts.name), CallAbout(facts_)) {}

FlowVerdict FlowDecision::Begin() {
  return After(run_.Start());
}

FlowVerdict FlowDecision::Resume(WaitResult result) {
  return After(run_.Resume(std::move(result)));
}

FlowVerdict FlowDecision::After(HookRun::State state) {
  if (state == HookRun::State::kWaiting) return Await(shared_from_this());
  const Call& call = run_.call();
  if (state == HookRun::State::kFailed) return Refuse(ExplainFailure(run_.failure(), run_.id()));
  if (call.refused_by_user)
    return Refuse(ExplainApproval(call.approval, DescribeFlow(facts_), run_.id()));
  if (call.decision == Call::Decision::kDenied) return Refuse(ExplainHook(call.reason, run_.id()));
  if (call.decision == Call::Decision::kAccepted) return Accepted();
  if (auto learnt = LearnFlow(*script_, decision_, facts_)) return *std::move(learnt);
  return DeniedByRules(script_, decision_);
}

FlowVerdict FlowDecision::Accepted() {
  Call& call = run_.call();
  Rule& rule = *call.accepted;
  if (rule.id.empty()) rule.id = run_.id();
  if (rule.kind != Rule::Kind::kHttp) {
    if (const auto seer = WhatSeesRequests(script_->declared, facts_)) {
      return Refuse(ExplainFailure(script_->host->file + ":" +
                                       std::to_string(call.accepted_line) + ": the bytes of " + DescribeFlow(facts_) +
                                       " would pass unseen, but " + *seer +
                                       " must see its requests; accept it with conn:match_http",
                                   run_.id()));
    }
  }
  FlowVerdict verdict;
  verdict.action = FlowVerdict::Action::kRaw;
  verdict.has_name = facts_.name.has_value();
  verdict.by = std::move(call.accepted);
  if (verdict.by->kind == Rule::Kind::kHttp) {
    verdict.action = FlowVerdict::Action::kHttp;
    verdict.http = std::make_shared<HttpGrant>(script_->state);
    verdict.http->rules = std::move(decision_.http);
    verdict.http->by = verdict.by;
    verdict.http->by_callback = true;
    verdict.http->function = std::exchange(call.function, LUA_NOREF);
    verdict.http->learns =
        MayLearnRequests(*script_, facts_, verdict.filter(), verdict.to().has_value());
  }
  return verdict;
}

FlowQuestion::FlowQuestion(std::shared_ptr<const LoadedScript> script, const Rule& rule,
                           const Facts& facts, FlowVerdict granted)
    : script_(std::move(script)),
      wait_(QuestionOf(rule)),
      what_(DescribeFlow(facts)),
      granted_(std::move(granted)) {}

FlowVerdict FlowQuestion::Resume(WaitResult result) {
  const Approval* answer = std::get_if<Approval>(&result);
  const bool approved = answer != nullptr && *answer == Approval::kApproved;
  if (approved && !script_->replaced()) return std::move(granted_);
  const std::string& rule = std::get<AskWait>(wait_).rule;
  // A yes was to the question of a policy that decides no more.
  if (approved) return Refuse(ExplainFailure(kReplaced, rule));
  return Refuse(ExplainApproval(answer != nullptr ? *answer : Approval::kPending, what_, rule));
}

FlowVerdict Await(std::shared_ptr<SuspendedFlow> suspended) {
  FlowVerdict verdict;
  verdict.action = FlowVerdict::Action::kWait;
  verdict.suspended = std::move(suspended);
  return verdict;
}

FlowVerdict DeniedByRules(const std::shared_ptr<LoadedScript>& script,
                          const RuleSet::FlowDecision& decision) {
  FlowVerdict verdict;
  if (decision.refuses != nullptr) verdict.by = Share(script, decision.refuses);
  return verdict;
}

std::shared_ptr<const Rule> Share(const std::shared_ptr<LoadedScript>& script, const Rule* rule) {
  return {script, rule};
}

std::vector<HookRun::Function> ConnectFunctions(const LoadedScript& script,
                                                const std::optional<HostName>& name) {
  std::vector<HookRun::Function> functions;
  for (const Hook& hook : script.declared.on_connect) {
    if (hook.SpeaksOf(name)) functions.push_back({hook.reference, hook.id});
  }
  return functions;
}

}  // namespace sallyport::policy
