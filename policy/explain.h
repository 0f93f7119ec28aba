#pragma once

#include "base/reason.h"
#include "policy/engine.h"
#include "policy/rule_set.h"

namespace sallyport::policy {

/// What a guest, a person or a model is told of a denied flow: what happened, and the smallest rule
/// that would allow it. DENIED_BY is the rule that says so, or null.
Refusal ExplainFlow(const Rule* denied_by, const Facts& facts);

/// The same for NAME, which nothing grants; DENIED_BY is the rule that says so, or null.
Refusal ExplainName(const HostName& name, const Rule* denied_by);

/// The smallest rule that would allow a flow with FACTS: `allow.http` for a question about HTTP and for
/// names at the web's ports. Empty where there is none.
std::string SuggestRule(const Facts& facts);

/// The same for a request that the rules RULES_OF_FLOW decided as DECISION says.
Refusal ExplainRequest(const RuleSet& rules, std::span<const uint32_t> rules_of_flow,
                       const RuleSet::RequestDecision& decision, const Facts& facts,
                       const RequestHead& request);

/// A callback refused; REASON is what it said.
Refusal ExplainHook(const std::string& reason, const std::string& id);
/// The user was asked by RULE about WHAT, and ANSWER was not yes.
Refusal ExplainApproval(Approval answer, const std::string& what, const std::string& rule);
/// A callback failed.
Refusal ExplainFailure(const std::string& what, const std::string& id);

/// "TCP to db.example.com:5432".
std::string DescribeFlow(const Facts& facts);
/// "POST https://api.github.com/x", bounded, without the query.
std::string DescribeRequest(const Facts& facts, const RequestHead& request);

}  // namespace sallyport::policy
