#include "policy/name_decision.h"

#include <utility>

#include "policy/explain.h"
#include "policy/flow_decision.h"
#include "policy/hook_run.h"

namespace sallyport::policy {
namespace {

void Merge(const AddressFilter& from, AddressFilter& into) {
  into.classes = static_cast<uint16_t>(into.classes | from.classes);
  into.prefixes.insert(into.prefixes.end(), from.prefixes.begin(), from.prefixes.end());
}

// What the functions said of the name: how the run ended, and what it left in its call. False where they
// refuse it, or fail.
bool TakeAnswer(const HookRun::State state, HookRun& run, NameVerdict& verdict) {
  const Call& call = run.call();
  if (state != HookRun::State::kDone) {  // None waits: while a name is looked up nothing takes time.
    verdict.refusal = ExplainFailure(run.failure(), run.id());
    return false;
  }
  if (call.decision == Call::Decision::kDenied) {
    verdict.refusal = ExplainHook(call.reason, run.id());
    return false;
  }
  if (call.decision == Call::Decision::kAccepted) {
    verdict.grantable = true;
    verdict.types = call.accepted->rare->types;
    verdict.answers = call.answers;
    verdict.resolvers = call.resolvers;
    Merge(call.accepted->resolves, verdict.filter);
  }
  if (call.interested) {
    verdict.grantable = true;
    Merge(call.interest_filter, verdict.filter);
  }
  if (!verdict.grantable && call.saw_flow && verdict.refusal.reason == Reason::kNameNotGranted) {
    verdict.refusal.detail +=
        "; a callback of on.connect looked at conn.transport, conn.src or conn.dst, which say nothing "
        "while the name is looked up (\"dns\", no address, port 0): it has to ask conn:match_http, "
        "conn:match_tcp or conn:match_udp for the name";
  }
  return true;
}

// Asks the on.connect functions; false where they refuse NAME, or fail.
bool AskFunctions(const std::shared_ptr<LoadedScript>& script, const HostName& name,
                  const NameQuery& query, NameVerdict& verdict) {
  Facts facts;
  facts.name = name;
  Call about;
  about.kind = Call::Kind::kName;
  about.facts = &facts;
  about.query = &query;
  HookRun run(script, ConnectFunctions(*script, facts.name), std::move(about));
  const HookRun::State state = run.Start();
  if (!TakeAnswer(state, run, verdict)) return false;
  verdict.by_callback = verdict.grantable;
  return true;
}

}  // namespace

NameVerdict DecideNameBy(const std::shared_ptr<LoadedScript>& script, const HostName& name,
                         const NameQuery& query) {
  RuleSet::NameDecision decision = script->declared.rules.DecideName(name);
  NameVerdict verdict;
  verdict.grantable = decision.grantable;
  verdict.ancestor = decision.ancestor;
  verdict.filter = std::move(decision.filter);
  verdict.types = std::move(decision.types);
  verdict.chosen_target = decision.chosen_target;
  verdict.budget = std::move(decision.budget);
  verdict.listed = decision.listed;
  if (verdict.grantable) return verdict;
  const bool final = decision.denied_by != nullptr;
  verdict.refusal = ExplainName(name, final ? decision.denied_by : decision.nothing_left_by);
  if (final) return verdict;
  const bool refused =
      !script->declared.on_connect.empty() && !AskFunctions(script, name, query, verdict);
  if (script->learns && !verdict.grantable && !refused) {
    verdict.grantable = true;
    verdict.learnt = true;
  }
  if (verdict.grantable) verdict.ancestor = false;
  return verdict;
}

}  // namespace sallyport::policy
