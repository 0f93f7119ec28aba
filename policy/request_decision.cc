#include "policy/request_decision.h"

#include <algorithm>
#include <utility>

#include "base/path_glob.h"
#include "policy/explain.h"

namespace sallyport::policy {
namespace {

std::vector<HookRun::Function> RequestFunctions(const LoadedScript& script, const HttpGrant& grant,
                                                const Facts& facts) {
  std::vector<HookRun::Function> functions;
  for (const Hook& hook : script.declared.on_request) {
    if (hook.SpeaksOf(facts.name)) functions.push_back({hook.reference, hook.id});
  }
  if (grant.function != LUA_NOREF) functions.push_back({grant.function, grant.accepted()->id});
  return functions;
}

RequestVerdict Refuse(Refusal refusal) {
  RequestVerdict verdict;
  verdict.rule = refusal.rule;
  verdict.refusal = std::move(refusal);
  return verdict;
}

}  // namespace

RequestDecision::RequestDecision(std::shared_ptr<LoadedScript> script, Input input)
    : script_(std::move(script)),
      grant_(input.grant),
      facts_(input.facts),
      tls_(input.tls),
      original_(input.request),
      other_path_(std::move(input.other_path)),
      granted_(std::move(input.granted)),
      question_(input.asks == nullptr ? std::nullopt
                                      : std::optional<AskWait>(QuestionOf(*input.asks))),
      functions_(RequestFunctions(*script_, grant_, facts_)),
      changed_(original_) {}

RequestVerdict RequestDecision::Begin(RequestHead& request) {
  if (functions_.empty()) return AskUser(request);
  run_ = MakeRun(changed_);
  return AfterFunctions(run_->Start(), request);
}

RequestVerdict RequestDecision::Resume(WaitResult result, RequestHead& request) {
  if (stage_ == Stage::kFunctions) {
    waited_.push_back({*wait_, result});
    return AfterFunctions(run_->Resume(std::move(result)), request);
  }
  // A yes was to the question of a policy that decides no more.
  if (script_->replaced()) return Refuse(ExplainFailure(kReplaced, question_->rule));
  const Approval* answer = std::get_if<Approval>(&result);
  if (answer != nullptr && *answer == Approval::kApproved) return Forward(request);
  return Refuse(ExplainApproval(answer != nullptr ? *answer : Approval::kPending,
                                DescribeRequest(facts_, original_), question_->rule));
}

std::unique_ptr<HookRun> RequestDecision::MakeRun(RequestHead& request) {
  Call call;
  call.kind = Call::Kind::kRequest;
  call.facts = &facts_;
  call.request = &request;
  call.tls = &tls_;
  return std::make_unique<HookRun>(script_, functions_, std::move(call));
}

RequestVerdict RequestDecision::AfterFunctions(HookRun::State state, RequestHead& request) {
  if (state == HookRun::State::kWaiting) {
    wait_ = run_->wait();
    return Suspend();
  }
  if (auto verdict = Outcome(state)) return *std::move(verdict);
  if (auto verdict = CheckChanged()) return *std::move(verdict);
  granted_.body = std::move(run_->call().new_body);
  return other_path_ ? CheckOtherPath(request) : AskUser(request);
}

/// The verdict of functions that came to their end, if it is not to go on.
std::optional<RequestVerdict> RequestDecision::Outcome(HookRun::State state) {
  if (state == HookRun::State::kFailed)
    return Refuse(ExplainFailure(run_->failure(), run_->id()));
  Call& call = run_->call();
  if (call.refused_by_user) {
    return Refuse(
        ExplainApproval(call.approval, DescribeRequest(facts_, original_), run_->id()));
  }
  if (call.decision == Call::Decision::kDenied) {
    Refusal refusal = ExplainHook(call.reason, run_->id());
    refusal.status = call.status;
    return Refuse(std::move(refusal));
  }
  if (call.decision != Call::Decision::kResponded) return std::nullopt;
  RequestVerdict verdict;
  verdict.action = RequestVerdict::Action::kRespond;
  verdict.rule = run_->id();
  verdict.response = std::move(call.response);
  verdict.response_body = std::move(call.response_body);
  return verdict;
}

/// Functions may make another request of this one, but not one that a rule denies. Whether another rule
/// grants it is not asked: hooks are trusted to rewrite what is granted.
std::optional<RequestVerdict> RequestDecision::CheckChanged() const {
  if (changed_.method == original_.method && changed_.path == original_.path) return std::nullopt;
  std::vector<std::string> paths{changed_.path};
  if (!IsPlainPath(changed_.path)) {
    auto normalized = NormalizePath(changed_.path);
    if (!normalized) return RefuseAmbiguous(facts_, changed_, normalized.error().message());
    paths.push_back(*std::move(normalized));
  }
  const RuleSet& rules = script_->declared.rules;
  const auto numbers = grant_.rules.all();
  for (const std::string& path : paths) {
    const auto decision = rules.DecideRequest(numbers, changed_.method, path, changed_.headers);
    if (decision.rule == nullptr || decision.allowed) continue;
    Refusal refusal = ExplainRequest(rules, numbers, decision, facts_, changed_);
    refusal.detail = "a callback made another request of it: " + refusal.detail;
    return Refuse(std::move(refusal));
  }
  return std::nullopt;
}

RequestVerdict RequestDecision::CheckOtherPath(RequestHead& request) {
  stage_ = Stage::kOtherPath;
  RequestHead other = original_;
  other.path = *other_path_;
  run_ = MakeRun(other);
  HookRun::State state = run_->Start();
  for (const Waited& waited : waited_) {
    if (state != HookRun::State::kWaiting || run_->wait() != waited.wait) break;
    state = run_->Resume(waited.result);
  }
  const bool same = state == HookRun::State::kDone && !Outcome(state);
  const std::string id = run_->id();
  run_.reset();
  if (same) return AskUser(request);
  return RefuseAmbiguous(facts_, original_,
                         "servers may take its path for '" + Printable(*other_path_, 200) +
                             "', which the callback " + id + " decides differently");
}

RequestVerdict RequestDecision::AskUser(RequestHead& request) {
  if (!question_) return Forward(request);
  stage_ = Stage::kUser;
  wait_ = *question_;
  return Suspend();
}

RequestVerdict RequestDecision::Forward(RequestHead& request) {
  request = std::move(changed_);
  return std::move(granted_);
}

RequestVerdict RequestDecision::Suspend() {
  RequestVerdict verdict;
  verdict.action = RequestVerdict::Action::kWait;
  verdict.rule = granted_.rule;
  verdict.suspended = shared_from_this();
  return verdict;
}

RequestVerdict RefuseAmbiguous(const Facts& facts, const RequestHead& request,
                               const std::string& why) {
  Refusal refusal;
  refusal.reason = Reason::kBadRequest;
  refusal.status = 400;
  refusal.detail = DescribeRequest(facts, request) + " is refused: " + why;
  return Refuse(std::move(refusal));
}

bool HasRequestFunctions(const LoadedScript& script, const HttpGrant& grant, const Facts& facts) {
  const auto& hooks = script.declared.on_request;
  return grant.function != LUA_NOREF ||
         std::any_of(hooks.begin(), hooks.end(),
                     [&facts](const Hook& hook) { return hook.SpeaksOf(facts.name); });
}

}  // namespace sallyport::policy
