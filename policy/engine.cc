#include "policy/engine.h"

#include <algorithm>

#include "policy/explain.h"
#include "policy/http_grant.h"
#include "policy/load.h"
#include "policy/script_call.h"

// How a decision is made. Names, flows and requests are decided by the compiled rules where one
// speaks of them, without entering Lua. A flow or name that no rule decides goes to the on.connect
// functions, in order, until one accepts or denies; a request that is granted goes through the
// on.request functions and the one given to accept, which may change, refuse or answer it.
//
// A request is decided twice when its path has another normalised form: servers may take either,
// so both must be granted, and neither refused by a function.

namespace sallyport::policy {
namespace {

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(std::unique_ptr<LoadedScript> script) : script_(std::move(script)) {}
  // Grants may still hold the state; its functions are not called any more.
  ~EngineImpl() override { script_->state->owner = nullptr; }

  const SandboxOptions& sandbox() const override { return declared().sandbox; }
  const DnsOptions& dns() const override { return declared().dns; }
  const UpstreamOptions& upstream() const override { return declared().upstream; }
  const std::vector<SecretSpec>& secrets() const override { return declared().secrets; }
  void AddSecret(SecretSpec spec) override;
  void SetPlaceholder(std::string_view secret, std::string placeholder) override;

  NameVerdict DecideName(const HostName& name) override;
  FlowVerdict DecideFlow(const Facts& facts) override;
  RequestVerdict DecideRequest(HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                               RequestHead& request) override;

 private:
  // How the functions for an event ended.
  struct Outcome {
    std::string id;       // Of the function that decided or failed.
    std::string failure;  // Set: it failed.
  };

  const Declarations& declared() const { return script_->declared; }
  const RuleSet& rules() const { return script_->declared.rules; }

  template <class Body>
  bool RunCall(Call& call, std::string& failure, Body&& body);
  Outcome AskConnectHooks(Call& call);
  Outcome RunRequestHooks(const HttpGrant& grant, Call& call);
  FlowVerdict FlowFromRules(RuleSet::FlowDecision decision);
  FlowVerdict FlowFromCallback(RuleSet::FlowDecision decision, const Facts& facts, bool& decided);
  bool Permit(const HttpGrant& grant, const Facts& facts, const RequestHead& request,
              std::string_view path, RequestVerdict& verdict) const;
  RequestVerdict RunHooks(const HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                          RequestHead& request);
  bool HasHooks(const HttpGrant& grant, const Facts& facts) const;

  std::unique_ptr<LoadedScript> script_;
};

bool Speaks(const Hook& hook, const std::optional<HostName>& name) {
  return !hook.host || (name && hook.host->Matches(*name));
}

bool SameTarget(const std::optional<Authority>& a, const std::optional<Authority>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->host == b->host && a->port == b->port;
}

void Merge(const AddressFilter& from, AddressFilter& into) {
  into.classes = static_cast<uint16_t>(into.classes | from.classes);
  into.prefixes.insert(into.prefixes.end(), from.prefixes.begin(), from.prefixes.end());
}

// What RULE says of the addresses of a flow: with a name its `resolves_to`, without one its `ip`.
const AddressFilter& FilterOf(const Rule& rule, bool has_name) {
  return has_name || !rule.ip ? rule.resolves : *rule.ip;
}

RequestVerdict Refuse(Refusal refusal) {
  RequestVerdict verdict;
  verdict.rule = refusal.rule;
  verdict.refusal = std::move(refusal);
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

void EngineImpl::AddSecret(SecretSpec spec) {
  auto& secrets = script_->declared.secrets;
  const auto same = [&spec](const SecretSpec& other) { return other.name == spec.name; };
  const auto found = std::find_if(secrets.begin(), secrets.end(), same);
  if (found != secrets.end()) {
    *found = std::move(spec);
  } else {
    secrets.push_back(std::move(spec));
  }
}

void EngineImpl::SetPlaceholder(std::string_view secret, std::string placeholder) {
  script_->host->placeholders.insert_or_assign(std::string(secret), std::move(placeholder));
}

// Runs BODY as one callback on CALL. False when it failed; FAILURE then says how and where.
template <class Body>
bool EngineImpl::RunCall(Call& call, std::string& failure, Body&& body) {
  ScriptHost& host = *script_->host;
  ++host.generation;
  host.call = &call;
  ScriptError error;
  const bool ran = script_->state->Run(kCallbackBudget, error, body);
  host.call = nullptr;
  if (ran) return true;
  int line = error.line;
  const std::string message = WithoutPlace(error.message, line);
  failure = line > 0 ? host.file + ":" + std::to_string(line) + ": " + message : message;
  return false;
}

EngineImpl::Outcome EngineImpl::AskConnectHooks(Call& call) {
  Outcome outcome;
  const bool ran = RunCall(call, outcome.failure, [&](lua_State* lua) {
    for (const Hook& hook : declared().on_connect) {
      if (!Speaks(hook, call.facts->name)) continue;
      outcome.id = hook.id;
      lua_rawgeti(lua, LUA_REGISTRYINDEX, hook.reference);
      PushConnection(lua);
      lua_call(lua, 1, 0);
      if (call.decision != Call::Decision::kNone) return;
    }
    outcome.id.clear();
  });
  if (ran) return outcome;
  if (outcome.failure.empty()) outcome.failure = "unknown error";
  if (call.function != LUA_NOREF) script_->state->Unref(std::exchange(call.function, LUA_NOREF));
  return outcome;
}

NameVerdict EngineImpl::DecideName(const HostName& name) {
  RuleSet::NameDecision decision = rules().DecideName(name);
  NameVerdict verdict;
  verdict.grantable = decision.grantable;
  verdict.ancestor = decision.ancestor;
  verdict.filter = std::move(decision.filter);
  verdict.types = std::move(decision.types);
  verdict.chosen_target = decision.chosen_target;
  if (verdict.grantable || decision.denied_by != nullptr || declared().on_connect.empty())
    return verdict;
  Facts facts;
  facts.name = name;
  Call call;
  call.kind = Call::Kind::kName;
  call.facts = &facts;
  const Outcome outcome = AskConnectHooks(call);
  if (!outcome.failure.empty() || call.decision == Call::Decision::kDenied) return verdict;
  if (call.decision == Call::Decision::kAccepted) {
    verdict.grantable = true;
    verdict.types = call.accepted->types;
    Merge(call.accepted->resolves, verdict.filter);
  }
  if (call.interested) {
    verdict.grantable = true;
    Merge(call.interest_filter, verdict.filter);
  }
  if (verdict.grantable) verdict.ancestor = false;
  return verdict;
}

FlowVerdict EngineImpl::FlowFromRules(RuleSet::FlowDecision decision) {
  FlowVerdict verdict;
  verdict.action = FlowVerdict::Action::kHttp;
  verdict.http = std::make_shared<HttpGrant>(script_->state);
  verdict.filter.classes = 0;
  bool first = true;
  bool same_target = true;
  for (const uint32_t number : decision.http) {
    const Rule& rule = rules().rules()[number];
    if (!rule.allows()) continue;
    if (first) {
      verdict.rule = rule.id;
      verdict.to = rule.to;
    }
    same_target &= SameTarget(verdict.to, rule.to);
    first = false;
  }
  if (!same_target) verdict.to.reset();
  verdict.http->target = verdict.to;
  // Alone: with another rule for its requests the flow must be seen.
  verdict.passthrough = decision.http.size() == 1 &&
                        rules().rules()[decision.http.front()].tls == Rule::Tls::kPassthrough;
  verdict.http->rules = std::move(decision.http);
  return verdict;
}

FlowVerdict EngineImpl::FlowFromCallback(RuleSet::FlowDecision decision, const Facts& facts,
                                         bool& decided) {
  Call call;
  call.kind = Call::Kind::kFlow;
  call.facts = &facts;
  const Outcome outcome = AskConnectHooks(call);
  FlowVerdict verdict;
  decided = true;
  if (!outcome.failure.empty()) {
    verdict.refusal = ExplainFailure(outcome.failure, outcome.id);
  } else if (call.decision == Call::Decision::kDenied) {
    verdict.refusal = ExplainHook(call.reason, outcome.id);
  } else if (call.decision == Call::Decision::kAccepted) {
    const Rule& rule = *call.accepted;
    verdict.rule = outcome.id;
    verdict.filter = FilterOf(rule, facts.name.has_value());
    verdict.to = rule.to;
    verdict.action = FlowVerdict::Action::kRaw;
    if (rule.kind == Rule::Kind::kHttp) {
      verdict.action = FlowVerdict::Action::kHttp;
      verdict.http = std::make_shared<HttpGrant>(script_->state);
      verdict.http->rules = std::move(decision.http);
      verdict.http->function = call.function;
      verdict.http->target = rule.to;
      verdict.http->accepted = rule;
      verdict.http->accepted->id = outcome.id;
    }
  } else {
    decided = false;
  }
  return verdict;
}

FlowVerdict EngineImpl::DecideFlow(const Facts& facts) {
  const HostName* name = facts.name ? &*facts.name : nullptr;
  RuleSet::FlowDecision decision =
      rules().DecideFlow(facts.transport, name, facts.destination.address, facts.destination.port);
  FlowVerdict verdict;
  if (decision.http_allowed) {
    const std::vector<uint32_t> numbers = decision.http;
    verdict = FlowFromRules(std::move(decision));
    for (const uint32_t number : numbers) {
      const Rule& rule = rules().rules()[number];
      if (rule.allows()) Merge(FilterOf(rule, name != nullptr), verdict.filter);
    }
    return verdict;
  }
  if (decision.rule != nullptr && decision.rule->allows()) {
    verdict.action = FlowVerdict::Action::kRaw;
    verdict.rule = decision.rule->id;
    verdict.filter = FilterOf(*decision.rule, name != nullptr);
    verdict.to = decision.rule->to;
    return verdict;
  }
  if (decision.rule == nullptr && !declared().on_connect.empty()) {
    bool decided = false;
    verdict = FlowFromCallback(decision, facts, decided);
    if (decided) {
      if (verdict.rule.empty()) verdict.rule = verdict.refusal.rule;
      return verdict;
    }
  }
  verdict.refusal = ExplainFlow(rules(), decision, facts);
  verdict.rule = verdict.refusal.rule;
  return verdict;
}

// Whether the rules grant REQUEST with PATH. Fills what VERDICT says of it.
bool EngineImpl::Permit(const HttpGrant& grant, const Facts& facts, const RequestHead& request,
                        std::string_view path, RequestVerdict& verdict) const {
  const auto decision = rules().DecideRequest(grant.rules, request.method, path, request.headers);
  const Rule* rule = decision.rule;
  bool allowed = decision.allowed;
  if (rule == nullptr && grant.accepted &&
      grant.accepted->MatchesRequest(request.method, path, request.headers)) {
    rule = &*grant.accepted;
    allowed = true;
  }
  if (rule == nullptr || !allowed) {
    verdict.refusal = ExplainRequest(rules(), grant.rules, decision, facts, request);
    verdict.rule = verdict.refusal.rule;
    return false;
  }
  verdict.action = RequestVerdict::Action::kForward;
  verdict.rule = rule->id;
  if (!SameTarget(rule->to, grant.target)) verdict.to = rule->to;
  return true;
}

bool EngineImpl::HasHooks(const HttpGrant& grant, const Facts& facts) const {
  const auto& hooks = declared().on_request;
  return grant.function != LUA_NOREF ||
         std::any_of(hooks.begin(), hooks.end(),
                     [&facts](const Hook& hook) { return Speaks(hook, facts.name); });
}

EngineImpl::Outcome EngineImpl::RunRequestHooks(const HttpGrant& grant, Call& call) {
  Outcome outcome;
  const auto run = [&](lua_State* lua, int reference, const std::string& id) {
    outcome.id = id;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, reference);
    PushRequest(lua);
    lua_call(lua, 1, 0);
    return call.decision == Call::Decision::kNone;
  };
  const bool ran = RunCall(call, outcome.failure, [&](lua_State* lua) {
    for (const Hook& hook : declared().on_request) {
      if (Speaks(hook, call.facts->name) && !run(lua, hook.reference, hook.id)) return;
    }
    if (grant.function != LUA_NOREF) run(lua, grant.function, grant.accepted->id);
  });
  if (!ran && outcome.failure.empty()) outcome.failure = "unknown error";
  return outcome;
}

// Lets the functions see and change REQUEST; the verdict is kForward when none refused.
RequestVerdict EngineImpl::RunHooks(const HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                                    RequestHead& request) {
  Call call;
  call.kind = Call::Kind::kRequest;
  call.facts = &facts;
  call.request = &request;
  call.tls = &tls;
  const Outcome outcome = RunRequestHooks(grant, call);
  if (!outcome.failure.empty()) return Refuse(ExplainFailure(outcome.failure, outcome.id));
  RequestVerdict verdict;
  verdict.rule = outcome.id;
  switch (call.decision) {
    case Call::Decision::kDenied: {
      Refusal refusal = ExplainHook(call.reason, outcome.id);
      refusal.status = call.status;
      return Refuse(std::move(refusal));
    }
    case Call::Decision::kResponded:
      verdict.action = RequestVerdict::Action::kRespond;
      verdict.response = std::move(call.response);
      verdict.response_body = std::move(call.response_body);
      return verdict;
    case Call::Decision::kNone:
    case Call::Decision::kAccepted:
      break;
  }
  verdict.action = RequestVerdict::Action::kForward;
  return verdict;
}

bool LooksAtPaths(const RuleSet& rules, const HttpGrant& grant) {
  return (grant.accepted && !grant.accepted->paths.empty()) ||
         std::any_of(grant.rules.begin(), grant.rules.end(),
                     [&rules](uint32_t number) { return !rules.rules()[number].paths.empty(); });
}

RequestVerdict EngineImpl::DecideRequest(HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                                         RequestHead& request) {
  RequestVerdict verdict;
  const bool permitted = Permit(grant, facts, request, request.path, verdict);
  const bool has_hooks = HasHooks(grant, facts);
  std::string other_path = request.path;
  if (has_hooks || LooksAtPaths(rules(), grant)) {
    auto normalized = NormalizePath(request.path);
    if (!normalized) return RefuseAmbiguous(facts, request, normalized.error().message());
    other_path = *std::move(normalized);
  }
  const bool is_ambiguous = other_path != request.path;
  if (is_ambiguous) {
    RequestVerdict other;
    if (Permit(grant, facts, request, other_path, other) != permitted ||
        !SameTarget(other.to, verdict.to)) {
      return RefuseAmbiguous(facts, request,
                             "servers may take its path for '" + Printable(other_path, 200) +
                                 "', which the policy decides differently");
    }
  }
  if (!permitted || !has_hooks) return verdict;
  RequestHead changed = request;
  RequestVerdict hooked = RunHooks(grant, facts, tls, changed);
  if (hooked.action != RequestVerdict::Action::kForward) return hooked;
  if (is_ambiguous) {
    RequestHead other = request;
    other.path = other_path;
    const RequestVerdict also = RunHooks(grant, facts, tls, other);
    if (also.action != RequestVerdict::Action::kForward) {
      return RefuseAmbiguous(facts, request,
                             "servers may take its path for '" + Printable(other_path, 200) +
                                 "', which the callback " + also.rule + " decides differently");
    }
  }
  request = std::move(changed);
  return verdict;
}

}  // namespace

Engine::Loaded LoadWithBudget(const Engine::Source& source, const Budget& budget) {
  Engine::Loaded loaded;
  auto script = LoadScript(source, budget, loaded.diagnostics);
  if (script != nullptr) loaded.engine = std::make_unique<EngineImpl>(std::move(script));
  return loaded;
}

Engine::Loaded Engine::Load(const Source& source) {
  return LoadWithBudget(source, kLoadBudget);
}

}  // namespace sallyport::policy
