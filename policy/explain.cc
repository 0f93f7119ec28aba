#include "policy/explain.h"

#include <algorithm>
#include <initializer_list>

#include "policy/diagnostics.h"

namespace sallyport::policy {
namespace {

constexpr size_t kMaxPath = 200;

// PARTS as one string, for one allocation: a guest can have a refusal explained as often as it asks.
std::string Concat(std::initializer_list<std::string_view> parts) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  std::string text;
  text.reserve(size);
  for (const std::string_view part : parts) text += part;
  return text;
}

// TEXT as a string of the policy language.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : Printable(text, kMaxPath)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// `host = "x"`, or `ip = "x"` for a flow without a name. Both are in canonical form: nothing in them
// needs an escape.
std::string TargetField(const Facts& facts) {
  if (facts.name) return Concat({"host = \"", facts.name->text(), "\""});
  return Concat({"ip = \"", facts.destination.address.ToString(), "\""});
}

bool IsWebPort(uint16_t port) {
  return port == 80 || port == 443;
}

std::string SuggestFlow(const Facts& facts) {
  const std::string port = std::to_string(facts.destination.port);
  switch (facts.transport) {
    case Transport::kTcp:
      if (IsWebPort(facts.destination.port) && (facts.name || facts.web))
        return Concat({"allow.http { ", TargetField(facts), " }"});
      if (facts.web) return Concat({"allow.http { ", TargetField(facts), ", port = ", port, " }"});
      return Concat({"allow.tcp { ", TargetField(facts), ", port = ", port, " }"});
    case Transport::kUdp:
      return Concat({"allow.udp { ", TargetField(facts), ", port = ", port, " }"});
    case Transport::kIcmp:
      return Concat({"allow.icmp { ", TargetField(facts), " }"});
  }
  return {};
}

std::string_view NameOf(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return "TCP";
    case Transport::kUdp:
      return "UDP";
    case Transport::kIcmp:
      return "ICMP";
  }
  return "unknown";
}

std::string Join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined.append(joined.empty() ? "" : ", ").append(word);
  return joined;
}

// What RULE allows, of that in which the request differs: "allows GET, HEAD".
std::string DescribeAllowed(const Rule& rule, const RequestHead& request) {
  const bool method_fits =
      rule.methods.empty() || Join(rule.methods).empty() ||
      std::find(rule.methods.begin(), rule.methods.end(), request.method) != rule.methods.end();
  if (!method_fits) return "allows " + Join(rule.methods);
  std::vector<std::string> paths;
  for (const PathGlob& glob : rule.paths) paths.push_back(glob.text());
  if (!paths.empty()) return "allows the paths " + Join(paths);
  return "wants other headers";
}

// The rule that comes nearest to allowing REQUEST: one whose path fits, or else the first.
const Rule* NearestRule(const RuleSet& rules, std::span<const uint32_t> numbers,
                        const RequestHead& request) {
  const Rule* nearest = nullptr;
  for (const uint32_t number : numbers) {
    const Rule& rule = rules.rules()[number];
    if (!rule.allows()) continue;
    if (nearest == nullptr) nearest = &rule;
    for (const PathGlob& glob : rule.paths) {
      if (glob.Matches(request.path)) return &rule;
    }
  }
  return nearest;
}

std::string SuggestRequest(const Facts& facts, const RequestHead& request) {
  std::string text = "allow.http { " + TargetField(facts);
  if (!IsWebPort(facts.destination.port))
    text += ", port = " + std::to_string(facts.destination.port);
  text += ", method = { " + Quote(request.method) + " }";
  if (request.path.starts_with('/') && request.path.size() <= kMaxPath)
    text += ", path = { " + Quote(request.path) + " }";
  return text + " }";
}

std::string Reason(const Rule& rule) {
  return rule.reason.empty() ? "" : ": " + rule.reason;
}

}  // namespace

std::string DescribeFlow(const Facts& facts) {
  const std::string_view transport = NameOf(facts.transport);
  if (facts.transport == Transport::kIcmp) {  // It has no ports.
    const std::string target =
        facts.name ? facts.name->text() : facts.destination.address.ToString();
    return Concat({transport, " to ", target});
  }
  if (!facts.name) return Concat({transport, " to ", facts.destination.ToString()});
  return Concat({transport, " to ", facts.name->text(), ":",
                 std::to_string(facts.destination.port)});
}

Refusal ExplainFlow(const Rule* denied_by, const Facts& facts) {
  Refusal refusal;
  const std::string what = DescribeFlow(facts);
  if (denied_by != nullptr) {
    refusal.reason = Reason::kDeniedByRule;
    refusal.rule = denied_by->id;
    refusal.detail = Concat({what, " is denied by the rule ", denied_by->id,
                             denied_by->reason.empty() ? "" : ": ", denied_by->reason});
    return refusal;
  }
  refusal.reason = Reason::kNotGranted;
  refusal.detail = Concat({what, " is not granted: no rule allows it"});
  if (!facts.name) {
    const AddressClass address_class = Classify(facts.destination.address);
    refusal.detail += " (the address belongs to no name that was looked up";
    if (address_class != AddressClass::kPublic)
      refusal.detail.append("; it is ").append(ToString(address_class));
    refusal.detail += ")";
  }
  refusal.how_to_allow = SuggestFlow(facts);
  return refusal;
}

std::string SuggestRule(const Facts& facts) {
  return SuggestFlow(facts);
}

Refusal ExplainName(const HostName& name, const Rule* denied_by) {
  Refusal refusal;
  if (denied_by != nullptr) {
    refusal.reason = Reason::kDeniedByRule;
    refusal.rule = denied_by->id;
    refusal.detail = Concat({name.text(), " is denied by the rule ", denied_by->id,
                             denied_by->reason.empty() ? "" : ": ", denied_by->reason});
    return refusal;
  }
  refusal.reason = Reason::kNameNotGranted;
  refusal.detail = Concat({"no rule grants ", name.text()});
  refusal.how_to_allow = Concat({"allow.http { host = \"", name.text(), "\" }"});
  return refusal;
}

Refusal ExplainRequest(const RuleSet& rules, std::span<const uint32_t> rules_of_flow,
                       const RuleSet::RequestDecision& decision, const Facts& facts,
                       const RequestHead& request) {
  Refusal refusal;
  const std::string what = DescribeRequest(facts, request);
  if (decision.rule != nullptr) {
    refusal.reason = Reason::kDeniedByRule;
    refusal.rule = decision.rule->id;
    refusal.detail = what + " is denied by the rule " + decision.rule->id;
    if (decision.by_otherwise) {
      refusal.detail +=
          ", which " + DescribeAllowed(*decision.rule, request) + ": " + *decision.rule->rare->otherwise;
    } else {
      refusal.detail += Reason(*decision.rule);
    }
    return refusal;
  }
  refusal.reason = Reason::kNotGranted;
  refusal.detail = what + " is not granted";
  if (const Rule* nearest = NearestRule(rules, rules_of_flow, request)) {
    refusal.detail += ": rule " + nearest->id + " " + DescribeAllowed(*nearest, request);
  } else {
    refusal.detail += ": no rule allows it";
  }
  refusal.how_to_allow = SuggestRequest(facts, request);
  return refusal;
}

Refusal ExplainHook(const std::string& reason, const std::string& id) {
  Refusal refusal;
  refusal.reason = Reason::kDeniedByHook;
  refusal.rule = id;
  refusal.detail = "denied by the callback " + id + (reason.empty() ? "" : ": " + reason);
  return refusal;
}

Refusal ExplainApproval(Approval answer, const std::string& what, const std::string& rule) {
  Refusal refusal;
  refusal.rule = rule;
  if (answer == Approval::kDenied) {
    refusal.reason = Reason::kApprovalDenied;
    refusal.detail = what + " was refused by the user, whom " + rule + " asks";
    return refusal;
  }
  refusal.reason = Reason::kApprovalPending;
  refusal.detail = what + " needs the user's approval, as " + rule +
                   " says, and has none yet; try again later";
  refusal.how_to_allow = "sandboxctl approvals";
  return refusal;
}

Refusal ExplainFailure(const std::string& what, const std::string& id) {
  Refusal refusal;
  refusal.reason = Reason::kPolicyError;
  refusal.rule = id;
  refusal.detail = "the policy failed while deciding: " + Printable(what, 500);
  return refusal;
}

std::string DescribeRequest(const Facts& facts, const RequestHead& request) {
  const uint16_t port = facts.destination.port;
  const bool default_port =
      (request.scheme == "https" && port == 443) || (request.scheme == "http" && port == 80);
  std::string host = facts.name ? facts.name->text() : ToString(Host(facts.destination.address));
  if (!default_port) host += ":" + std::to_string(port);
  return Printable(request.method, 32) + " " + request.scheme + "://" + host +
         Printable(request.path, kMaxPath);
}

}  // namespace sallyport::policy
