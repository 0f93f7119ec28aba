#include "policy/engine.h"

#include <algorithm>
#include <utility>

#include "base/path_glob.h"
#include "policy/explain.h"
#include "policy/flow_decision.h"
#include "policy/flow_terms.h"
#include "policy/http_grant.h"
#include "policy/learning.h"
#include "policy/load.h"
#include "policy/name_decision.h"
#include "policy/request_decision.h"
#include "policy/response_decision.h"

// How a decision is made. Names, flows and requests are decided by the compiled rules where one
// speaks of them, without entering Lua. A flow or name that no rule decides goes to the on.connect
// functions, in order, until one accepts or denies; a request that is granted goes through the
// on.request functions and the one given to accept, which may change, refuse or answer it. Names are
// in name_decision.cc.
//
// A request is decided twice when its path has another normalised form: servers may take either,
// so both must be granted, and neither refused by a function. What functions and users decide, which
// may take a while, is in flow_decision.cc and request_decision.cc.

namespace sallyport::policy {
namespace {

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(std::unique_ptr<LoadedScript> script) : script_(std::move(script)) {}
  // Grants and decisions that wait may still hold the state; its functions are not called any more.
  ~EngineImpl() override { script_->state->owner = nullptr; }

  const SandboxOptions& sandbox() const override { return declared().sandbox; }
  const DnsOptions& dns() const override { return declared().dns; }
  const UpstreamOptions& upstream() const override { return declared().upstream; }
  const std::vector<SecretSpec>& secrets() const override { return declared().secrets; }
  void AddSecret(SecretSpec spec) override;
  void SetPlaceholder(std::string_view secret, std::string placeholder) override;
  void SetLog(LogSink log) override;

  NameVerdict DecideName(const HostName& name) override { return DecideNameBy(script_, name, {}); }
  NameVerdict DecideQuery(const HostName& name, const NameQuery& query) override {
    return DecideNameBy(script_, name, query);
  }
  FlowVerdict DecideFlow(const Facts& facts) override;
  RequestVerdict DecideRequest(HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                               RequestHead& request) override;
  bool SeesResponses(const Facts& facts) const override {
    return HasResponseFunctions(*script_, facts);
  }
  ResponseVerdict DecideResponse(const Facts& facts, const TlsFacts& tls,
                                 const RequestHead& request, ResponseHead& response) override;
  std::string FlowTerms(const Facts& facts) override;

 private:
  const Declarations& declared() const { return script_->declared; }
  const RuleSet& rules() const { return script_->declared.rules; }

  FlowVerdict GrantHttp(RuleSet::FlowDecision decision, const Facts& facts);
  std::shared_ptr<const Rule> Together(const RuleSet::FlowDecision& decision, bool has_name,
                                       HttpGrant& grant) const;
  const Rule* Permit(const HttpGrant& grant, const Facts& facts, const RequestHead& request,
                     std::string_view path, RequestVerdict& verdict) const;
  bool MayDiffer(const HttpGrant& grant, bool has_functions) const;
  std::optional<RequestVerdict> Renew(HttpGrant& grant, const Facts& facts);

  const std::shared_ptr<LoadedScript> script_;
};

bool SameTarget(const std::optional<Authority>& a, const std::optional<Authority>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->host == b->host && a->port == b->port;
}

void Merge(const AddressFilter& from, AddressFilter& into) {
  into.classes = static_cast<uint16_t>(into.classes | from.classes);
  into.prefixes.insert(into.prefixes.end(), from.prefixes.begin(), from.prefixes.end());
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

void EngineImpl::SetLog(LogSink log) {
  ScriptHost& host = *script_->host;
  host.log = std::move(log);
  if (!host.log) return;
  for (const LogLine& line : std::exchange(host.early, {})) host.log(line);
}

// What the rules of DECISION say of the flow's addresses and its target, as one rule with the id of
// the first.
std::shared_ptr<const Rule> EngineImpl::Together(const RuleSet::FlowDecision& decision,
                                                 bool has_name, HttpGrant& grant) const {
  const Rule& first = *decision.grants;
  if (decision.plain || decision.http.size() == 1) return Share(script_, &first);
  auto together = std::make_shared<Rule>();
  together->id = first.id;
  auto& target = together->rare.Edit().to;
  target = first.rare->to;
  together->resolves.classes = 0;
  for (const uint32_t number : decision.http.all()) {
    const Rule& rule = rules().rules()[number];
    if (!rule.allows()) continue;
    if (!SameTarget(first.rare->to, rule.rare->to)) target.reset();
    grant.filters_differ |= rule.FilterFor(has_name) != first.FilterFor(has_name);
    Merge(rule.FilterFor(has_name), together->resolves);
  }
  return together;
}

FlowVerdict EngineImpl::GrantHttp(RuleSet::FlowDecision decision, const Facts& facts) {
  FlowVerdict verdict;
  verdict.action = FlowVerdict::Action::kHttp;
  verdict.has_name = facts.name.has_value();
  verdict.passthrough = decision.passthrough;
  verdict.http = std::make_shared<HttpGrant>(script_->state);
  verdict.by = Together(decision, verdict.has_name, *verdict.http);
  verdict.http->by = verdict.by;
  verdict.http->rules = std::move(decision.http);
  if (!script_->learns) return verdict;
  const auto numbers = verdict.http->rules.all();
  const bool goes_elsewhere = std::any_of(numbers.begin(), numbers.end(), [this](uint32_t number) {
    return rules().rules()[number].rare->to.has_value();
  });
  verdict.http->learns = MayLearnRequests(*script_, facts, verdict.filter(), goes_elsewhere);
  return verdict;
}

FlowVerdict EngineImpl::DecideFlow(const Facts& facts) {
  const HostName* name = facts.name ? &*facts.name : nullptr;
  RuleSet::FlowDecision decision =
      rules().DecideFlow(facts.transport, name, facts.destination.address, facts.destination.port);
  if (decision.http_allowed) return GrantHttp(std::move(decision), facts);
  if (decision.rule != nullptr && decision.effect != Rule::Effect::kDeny) {
    FlowVerdict verdict;
    verdict.action = FlowVerdict::Action::kRaw;
    verdict.has_name = name != nullptr;
    verdict.by = Share(script_, decision.rule);
    if (decision.effect != Rule::Effect::kAsk) return verdict;
    return Await(
        std::make_shared<FlowQuestion>(script_, *decision.rule, facts, std::move(verdict)));
  }
  if (decision.rule == nullptr && !declared().on_connect.empty()) {
    return std::make_shared<FlowDecision>(script_, std::move(decision), facts)->Begin();
  }
  if (auto learnt = LearnFlow(*script_, decision, facts)) return *std::move(learnt);
  return DeniedByRules(script_, decision);
}

// The rule that grants REQUEST with PATH; null if none does. Fills what VERDICT says of it.
const Rule* EngineImpl::Permit(const HttpGrant& grant, const Facts& facts,
                               const RequestHead& request, std::string_view path,
                               RequestVerdict& verdict) const {
  const auto decision =
      rules().DecideRequest(grant.rules.all(), request.method, path, request.headers);
  const Rule* rule = decision.rule;
  bool allowed = decision.allowed;
  const Rule* accepted = grant.accepted();
  if (rule == nullptr && accepted != nullptr &&
      accepted->MatchesRequest(request.method, path, request.headers)) {
    rule = accepted;
    allowed = true;
  }
  if (rule == nullptr && grant.learns) {
    rule = &LearnRule();
    allowed = true;
    verdict.learnt = true;
  }
  if (rule == nullptr || !allowed) {
    verdict.refusal = ExplainRequest(rules(), grant.rules.all(), decision, facts, request);
    verdict.rule = verdict.refusal.rule;
    return nullptr;
  }
  verdict.action = RequestVerdict::Action::kForward;
  verdict.rule = rule->id;
  verdict.budget = rule->budget;
  if (!SameTarget(rule->rare->to, grant.by->rare->to)) verdict.to = rule->rare->to;
  if (grant.filters_differ) verdict.filter = rule->FilterFor(facts.name.has_value());
  return rule;
}

bool LooksAtPaths(const RuleSet& rules, const HttpGrant& grant) {
  const Rule* accepted = grant.accepted();
  const auto numbers = grant.rules.all();
  return (accepted != nullptr && !accepted->paths.empty()) ||
         std::any_of(numbers.begin(), numbers.end(),
                     [&rules](uint32_t number) { return !rules.rules()[number].paths.empty(); });
}

// Whether another form of a path could be decided otherwise.
bool EngineImpl::MayDiffer(const HttpGrant& grant, bool has_functions) const {
  return has_functions || LooksAtPaths(rules(), grant);
}

RequestVerdict Denied(Refusal refusal) {
  RequestVerdict verdict;
  verdict.rule = refusal.rule;
  verdict.refusal = std::move(refusal);
  return verdict;
}

// GRANT is of a policy that this one replaced: it becomes what this one grants. The connection was
// opened on the earlier one's terms, so one that goes elsewhere now is of no use; such are cut at
// the reload, and what gets here is refused.
std::optional<RequestVerdict> EngineImpl::Renew(HttpGrant& grant, const Facts& facts) {
  FlowVerdict flow = DecideFlow(facts);
  if (flow.action == FlowVerdict::Action::kDeny) return Denied(flow.Explain(facts));
  if (!flow.http || flow.passthrough || !SameTarget(flow.to(), grant.by->rare->to)) {
    Refusal refusal;
    refusal.status = 421;
    refusal.detail = "the policy was reloaded, and this connection is not what it grants; open another";
    return Denied(std::move(refusal));
  }
  grant.Swap(*flow.http);
  return std::nullopt;
}

std::string EngineImpl::FlowTerms(const Facts& facts) {
  const FlowVerdict flow = DecideFlow(facts);
  // What a callback or the user would say is not known: as if it were denied.
  if (flow.action != FlowVerdict::Action::kRaw && flow.action != FlowVerdict::Action::kHttp) return {};
  std::string terms = DescribeTerms(flow, rules());
  if (flow.http && (HasRequestFunctions(*script_, *flow.http, facts) || SeesResponses(facts))) {
    terms += " callbacks of " + std::to_string(reinterpret_cast<uintptr_t>(script_->state.get()));
  }
  return terms;
}

RequestVerdict EngineImpl::DecideRequest(HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                                         RequestHead& request) {
  if (!grant.BelongsTo(script_->state)) {
    if (auto refused = Renew(grant, facts)) return *std::move(refused);
  }
  RequestVerdict verdict;
  const Rule* rule = Permit(grant, facts, request, request.path, verdict);
  const bool has_functions = HasRequestFunctions(*script_, grant, facts);
  std::optional<std::string> other_path;
  // A rule that is made of a learnt request looks at its path, so this does, too.
  if (!IsPlainPath(request.path) && (MayDiffer(grant, has_functions) || verdict.learnt)) {
    auto normalized = NormalizePath(request.path);
    if (!normalized) return RefuseAmbiguous(facts, request, normalized.error().message());
    if (*normalized != request.path) other_path = *std::move(normalized);
  }
  const Rule* asks = rule != nullptr && rule->asks() ? rule : nullptr;
  if (other_path) {
    RequestVerdict other;
    const Rule* other_rule = Permit(grant, facts, request, *other_path, other);
    if ((other_rule == nullptr) != (rule == nullptr) || !SameTarget(other.to, verdict.to) ||
        other.filter != verdict.filter ||
        other.budget != verdict.budget) {  // A spelling must not choose the budget.
      return RefuseAmbiguous(facts, request,
                             "servers may take its path for '" + Printable(*other_path, 200) +
                                 "', which the policy decides differently");
    }
    if (other_rule != nullptr && other_rule->asks()) asks = other_rule;
    verdict.learnt |= other.learnt;
  }
  if (rule == nullptr || (!has_functions && asks == nullptr)) return verdict;
  return std::make_shared<RequestDecision>(
             script_, RequestDecision::Input{.grant = grant,
                                             .facts = facts,
                                             .tls = tls,
                                             .request = request,
                                             .other_path = std::move(other_path),
                                             .granted = std::move(verdict),
                                             .asks = asks})
      ->Begin(request);
}

ResponseVerdict EngineImpl::DecideResponse(const Facts& facts, const TlsFacts& tls,
                                           const RequestHead& request, ResponseHead& response) {
  return std::make_shared<ResponseDecision>(script_, facts, tls, request, response)
      ->Begin(response);
}

}  // namespace

NameVerdict Engine::DecideQuery(const HostName& name, const NameQuery&) {
  return DecideName(name);
}

std::string Engine::FlowTerms(const Facts&) {
  return {};
}

Engine::Loaded LoadWithBudget(const Engine::Source& source, const Budget& budget,
                              Engine::Uncovered uncovered) {
  Engine::Loaded loaded;
  auto script = LoadScript(source, budget, loaded.diagnostics);
  if (script != nullptr) script->learns = uncovered == Engine::Uncovered::kLearnt;
  if (script != nullptr) loaded.engine = std::make_unique<EngineImpl>(std::move(script));
  return loaded;
}

Engine::Loaded Engine::Load(const Source& source, Uncovered uncovered) {
  return LoadWithBudget(source, kLoadBudget, uncovered);
}

}  // namespace sallyport::policy
