#include "policy/engine.h"
#include "policy/explain.h"
#include "policy/rule.h"

namespace sallyport::policy {
namespace {

const Rule& RuleOf(const FlowVerdict& verdict) {
  static const Rule kNone;
  return verdict.by != nullptr ? *verdict.by : kNone;
}

}  // namespace

const std::string& FlowVerdict::rule() const {
  return by == nullptr && said != nullptr ? said->rule : RuleOf(*this).id;
}

const AddressFilter& FlowVerdict::filter() const {
  return RuleOf(*this).FilterFor(has_name);
}

const std::optional<Authority>& FlowVerdict::to() const {
  return RuleOf(*this).rare->to;
}

const RuleBudgetPtr& FlowVerdict::budget() const {
  return RuleOf(*this).budget;
}

Refusal FlowVerdict::Explain(const Facts& facts) const {
  return said != nullptr ? *said : ExplainFlow(by.get(), facts);
}

}  // namespace sallyport::policy
