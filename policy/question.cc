#include "policy/question.h"

#include <algorithm>
#include <utility>

#include "base/http_url.h"
#include "policy/diagnostics.h"
#include "policy/dns_records.h"
#include "policy/explain.h"
#include "policy/gate_address.h"

namespace sallyport::policy {
namespace {

constexpr const char* kForms =
    "; write one of\n  dns api.example.com\n  dns example.com TXT\n  tcp db.example.com:5432\n  udp 192.0.2.1:53\n"
    "  icmp 192.0.2.1\n  http GET https://api.example.com/path";

Status SetHost(const Host& host, uint16_t port, Facts& facts) {
  facts.destination.port = port;
  if (const auto* name = std::get_if<HostName>(&host)) {
    facts.name = *name;
  } else {
    facts.destination.address = std::get<IpAddress>(host);
  }
  return {};
}

Result<Question> ParseName(const std::string& text, const std::string& type) {
  auto name = HostName::Parse(text);
  if (!name) return tl::unexpected(std::move(name).error());
  const auto number = dns::ParseTypeName(type);
  if (!number) {
    return Fail(Code::kInvalid, "'" + Printable(type, 40) + "' is no DNS record type" +
                                    DidYouMean(type, {"A", "AAAA", "TXT", "MX", "SRV", "NS", "CAA",
                                                      "CNAME", "PTR", "SOA"}));
  }
  Question question;
  question.type = *number;
  question.facts.name = *std::move(name);
  return question;
}

Result<Question> ParseFlow(Transport transport, const std::string& text) {
  const bool bare_v6 = transport == Transport::kIcmp && IpAddress::Parse(text).has_value() &&
                       text.find(':') != std::string::npos;
  const auto authority = ParseAuthority(bare_v6 ? "[" + text + "]" : text);
  if (!authority) return tl::unexpected(authority.error());
  const bool has_ports = transport != Transport::kIcmp;
  if (!has_ports && authority->port) {
    return Fail(Code::kInvalid, Printable(text) + " has a port, and pings have none");
  }
  if (has_ports && !authority->port)
    return Fail(Code::kInvalid,
                Printable(text) + " has no port: write " + Printable(text) + ":443");
  Question question;
  question.kind = Question::Kind::kFlow;
  question.facts.transport = transport;
  auto set = SetHost(authority->host, authority->port.value_or(0), question.facts);
  if (!set) return tl::unexpected(std::move(set).error());
  return question;
}

Result<Question> ParseRequest(const std::string& method, const std::string& text) {
  if (!IsToken(method))
    return Fail(Code::kInvalid, "'" + Printable(method, 40) + "' is not a method");
  if (std::any_of(method.begin(), method.end(), [](char c) { return c >= 'a' && c <= 'z'; })) {
    return Fail(Code::kInvalid, "'" + Printable(method, 40) +
                                    "' is no method that the gate forwards: methods are upper case");
  }
  const auto url = HttpUrl::Parse(text);
  if (!url) return tl::unexpected(url.error());
  Question question;
  question.kind = Question::Kind::kRequest;
  auto set = SetHost(url->host, url->port, question.facts);
  if (!set) return tl::unexpected(std::move(set).error());
  question.facts.web = true;
  RequestHead& request = question.request;
  request.method = method;
  request.scheme = url->tls ? "https" : "http";
  request.authority = url->Authority();
  const size_t mark = url->target.find('?');
  request.path = url->target.substr(0, mark);
  if (mark != std::string::npos) request.query = url->target.substr(mark + 1);
  return question;
}

/// One entry of a set of words, separated by ", ".
void Append(std::string& list, std::string_view word) {
  if (!list.empty()) list += ", ";
  list += word;
}

std::string DescribeFilter(const AddressFilter& filter) {
  std::string list;
  for (unsigned bit = 0; bit < 16; ++bit) {
    const auto one = static_cast<uint16_t>(1U << bit);
    if ((filter.classes & one) != 0) Append(list, ToString(static_cast<AddressClass>(one)));
  }
  for (const Prefix& prefix : filter.prefixes) Append(list, prefix.ToString());
  return list.empty() ? "none" : list;
}

class Decision {
 public:
  Decision(Engine& engine, Question question) : engine_(engine), question_(std::move(question)) {}

  Answer Make() && {
    FindSecrets();
    if (NameIsGranted() && question_.kind != Question::Kind::kName) DecideFlow();
    return std::move(answer_);
  }

 private:
  Facts& facts() { return question_.facts; }

  void Step(std::string text) { answer_.steps.push_back(std::move(text)); }
  void Allow(const std::string& rule, std::string detail) {
    answer_.allowed = true;
    answer_.reason = ToString(Reason::kAllowed);
    answer_.rule = rule;
    answer_.detail = std::move(detail);
  }
  void Deny(const Refusal& refusal) {
    answer_.reason = ToString(refusal.reason);
    answer_.rule = refusal.rule;
    answer_.detail = refusal.detail;
    answer_.how_to_allow = refusal.how_to_allow;
  }

  void FindSecrets() {
    if (!facts().name) return;
    for (const SecretSpec& secret : engine_.secrets()) {
      for (const HostPattern& host : secret.hosts) {
        if (!host.Matches(*facts().name)) continue;
        answer_.secrets.push_back(secret.name);
        break;
      }
    }
  }

  bool NameIsGranted() {
    if (!facts().name) {
      if (const auto refusal = RefuseByAddress(facts())) {
        Step("address: refused, whatever rules say");
        Deny(*refusal);
        return false;
      }
      Step("name: none; the flow is to an address, so only rules with `ip` speak of it");
      return true;
    }
    const std::string& name = facts().name->text();
    const NameVerdict verdict =
        engine_.DecideQuery(*facts().name, {.type = question_.type, .chain = {}});
    if (!verdict.grantable) {
      const bool denied = verdict.refusal.reason != Reason::kNameNotGranted;
      Step(denied ? "name: " + name + " is refused" + By(verdict.refusal.rule) +
                        ", so it is not resolved"
                  : "name: no rule can use " + name + ", so it is not resolved");
      Deny(verdict.refusal);
      if (!denied && question_.kind != Question::Kind::kName) {
        answer_.how_to_allow = SuggestRule(facts());
      }
      return false;
    }
    Step("name: " + name + " is resolved" + ByResolvers(verdict.resolvers) +
         "; its addresses may be " + DescribeFilter(verdict.filter));
    if (question_.kind == Question::Kind::kName) return DecideType(verdict);
    return true;
  }

  /// Whether the name has records of the asked type for the guest.
  bool DecideType(const NameVerdict& verdict) {
    const std::string name = facts().name->text();
    const std::string type = dns::TypeName(question_.type);
    if (const auto refusal = dns::RefuseRecords(*facts().name, question_.type, verdict)) {
      Step("type: " + type + " is refused");
      Deny(*refusal);
      return false;
    }
    if (question_.type == dns::kTypeA) {
      Allow("", name + " is resolvable");
    } else if (question_.type == dns::kTypeAaaa && !engine_.dns().synthesize_v6) {
      Step("type: AAAA has an empty answer: dns { families = \"both\" } is not set");
      Allow("", name + " is resolvable, over IPv4 only");
    } else {
      Step("type: " + type + " is answered");
      Allow("", type + " of " + name + " is asked of the resolvers");
    }
    return true;
  }

  void DecideFlow() {
    const FlowVerdict verdict = engine_.DecideFlow(facts());
    answer_.allowed = false;
    if (verdict.action == FlowVerdict::Action::kDeny) {
      Step("flow: denied" + By(verdict.rule()));
      return Deny(verdict.Explain(facts()));
    }
    if (verdict.action == FlowVerdict::Action::kWait) {
      Step("flow: waits" + By(verdict.rule()));
      return Wait(verdict.suspended->wait(), verdict.rule());
    }
    if (verdict.to()) Step("flow: goes to " + ToString(*verdict.to()));
    if (verdict.action == FlowVerdict::Action::kRaw || verdict.passthrough) {
      return GrantRaw(verdict);
    }
    if (IsNeverForwarded(question_.request.method)) return RefuseMethod();
    Step("flow: intercepted as HTTP" + By(verdict.rule()) + "; each request is decided");
    if (question_.kind == Question::Kind::kFlow) {
      return Allow(verdict.rule(), "the flow is intercepted; requests that rules grant may pass");
    }
    DecideRequest(*verdict.http);
  }

  /// As the gate does before the policy is asked.
  void RefuseMethod() {
    Step("request: refused, whatever rules say");
    Refusal refusal;
    refusal.reason = Reason::kBadRequest;
    refusal.detail = question_.request.method + " is not forwarded by the gate";
    Deny(refusal);
  }

  void GrantRaw(const FlowVerdict& verdict) {
    Step("flow: relayed unread" + By(verdict.rule()));
    Allow(verdict.rule(),
          question_.kind == Question::Kind::kRequest
              ? "the flow is relayed unread: any request passes, and no secret is put in"
              : "the flow is relayed unread");
  }

  void DecideRequest(HttpGrant& grant) {
    TlsFacts tls;
    tls.encrypted = question_.request.scheme == "https";
    if (tls.encrypted && facts().name) tls.sni = facts().name->text();
    RequestVerdict verdict = engine_.DecideRequest(grant, facts(), tls, question_.request);
    // A callback waits kMaxWaits times at most, so this ends.
    while (verdict.action == RequestVerdict::Action::kWait && question_.body) {
      const auto* read = std::get_if<BodyWait>(&verdict.suspended->wait());
      if (read == nullptr) break;
      ReadBody result;
      if (question_.body->size() <= read->max) result.bytes = *question_.body;
      Step("request: its body is read" + By(verdict.rule));
      const auto suspended = verdict.suspended;
      verdict = suspended->Resume(std::move(result), question_.request);
    }
    switch (verdict.action) {
      case RequestVerdict::Action::kDeny:
        Step("request: denied" + By(verdict.rule));
        return Deny(verdict.refusal);
      case RequestVerdict::Action::kRespond:
        Step("request: answered here" + By(verdict.rule));
        return Allow(verdict.rule, "a callback answers it with status " +
                                       std::to_string(verdict.response.status) +
                                       "; nothing goes upstream");
      case RequestVerdict::Action::kForward:
        Step("request: forwarded" + By(verdict.rule));
        return Allow(verdict.rule, "the request is forwarded");
      case RequestVerdict::Action::kWait:
        Step("request: waits" + By(verdict.rule));
        return Wait(verdict.suspended->wait(), verdict.rule);
    }
  }

  /// Nothing is waited for here: what would be decided depends on what comes of it.
  void Wait(const policy::Wait& wait, const std::string& rule) {
    answer_.waits = true;
    answer_.reason = ToString(Reason::kApprovalPending);
    answer_.rule = rule;
    const auto* question = std::get_if<AskWait>(&wait);
    if (question == nullptr) {
      answer_.detail = "a callback waits for something, so only a real run tells";
      return;
    }
    answer_.rule = question->rule;
    answer_.place = question->place;
    answer_.detail = "the user is asked by " + question->rule +
                     (question->message.empty() ? "" : ": " + question->message);
    answer_.how_to_allow = "sandboxctl approvals";
  }

  static std::string ByResolvers(const std::vector<Endpoint>& resolvers) {
    std::string list;
    for (const Endpoint& resolver : resolvers) Append(list, resolver.ToString());
    return list.empty() ? "" : " by " + list;
  }
  static std::string By(const std::string& rule) { return rule.empty() ? "" : " by " + rule; }
  static std::string ToString(const Authority& authority) {
    return sallyport::ToString(authority.host) +
           (authority.port ? ":" + std::to_string(*authority.port) : "");
  }
  template <class T>
  static std::string ToString(const T& value) {
    return std::string(sallyport::ToString(value));
  }

  Engine& engine_;
  Question question_;
  Answer answer_;
};

}  // namespace

Result<Question> Question::Parse(const std::vector<std::string>& words) {
  const std::string kind = words.empty() ? "" : words.front();
  Result<Question> question =
      Fail(Code::kInvalid, "'" + Printable(kind, 40) + "' can't be asked" + kForms);
  if (kind == "dns" && words.size() == 2) question = ParseName(words[1], "A");
  if (kind == "dns" && words.size() == 3) question = ParseName(words[1], words[2]);
  if (kind == "tcp" && words.size() == 2) question = ParseFlow(Transport::kTcp, words[1]);
  if (kind == "udp" && words.size() == 2) question = ParseFlow(Transport::kUdp, words[1]);
  if (kind == "icmp" && words.size() == 2) question = ParseFlow(Transport::kIcmp, words[1]);
  if (kind == "http" && words.size() == 3) question = ParseRequest(words[1], words[2]);
  const bool is_url = kind.starts_with("https://") || kind.starts_with("http://");
  if (is_url && words.size() == 1) question = ParseRequest("GET", kind);
  return question;
}

Answer Decide(Engine& engine, Question question) {
  return Decision(engine, std::move(question)).Make();
}

void GivePlaceholders(Engine& engine) {
  for (const SecretSpec& secret : engine.secrets()) {
    engine.SetPlaceholder(secret.name, "placeholder-of-" + secret.name);
  }
}

}  // namespace sallyport::policy
