// A decision's way, as steps; every one leaves through Finish():
//
//     Start -> OnTurn -> (OnResolved) -> Judge -> (Await) -> Act -> (OnDialed) -> Finish
//
// Deadlines are the resolver's, the wait's and the dialler's. Bounded by the proxy port's connections.

#include "runtime/warden/proxy_decisions.h"

#include <utility>

#include "policy/dns_message.h"
#include "runtime/warden/flow_answers.h"

namespace sallyport::runtime {

using mitm::ProxyQuestion;
using mitm::ProxyVerdict;
using policy::FlowVerdict;

namespace {

/// What is tunnelled without being HTTP, most often; whoever asks for another port has a URL with it.
constexpr uint16_t kSshPort = 22;

/// The status of an HTTP answer to a failure to reach a server.
int StatusOf(Reason reason) {
  switch (reason) {
    case Reason::kAddressRefused:
      return 403;
    case Reason::kUpstreamTimeout:
    case Reason::kProxyTimeout:
      return 504;
    case Reason::kLimit:
      return 503;
    default:
      return 502;
  }
}

Refusal Unreachable(Reason reason, std::string detail) {
  Refusal refusal = Refuse(reason, std::move(detail));
  refusal.status = StatusOf(reason);
  return refusal;
}

Refusal NoRequests(const policy::Facts& facts, const std::string& rule) {
  const std::string host =
      facts.name ? facts.name->text() : ToString(Host(facts.destination.address));
  Refusal refusal = Refuse(Reason::kNotGranted,
                           host +
                               " is granted as TCP, whose content the gate does not read; ask the "
                               "proxy for a tunnel (CONNECT), or connect without it",
                           "allow.http { host = \"" + host + "\" }");
  refusal.rule = rule;
  return refusal;
}

}  // namespace

class ProxyDecisions::Decision {
 public:
  Decision(ProxyDecisions& owner, uint64_t id, const ProxyQuestion& question,
           std::function<void(ProxyVerdict)> done)
      : owner_(owner), id_(id), form_(question.form), host_(question.host), done_(std::move(done)) {
    facts_.flow = question.flow;
    facts_.source = question.source;
    facts_.destination.port = question.port;
    facts_.web = form_ == ProxyQuestion::Form::kRequest || question.port != kSshPort;
    posted_ = owner.services_.loop.Post([this] { OnTurn(); });
  }

 private:
  void OnTurn() {
    if (const auto* address = std::get_if<IpAddress>(&host_)) {
      facts_.destination.address = *address;
      if (auto refusal = owner_.attribute_(facts_)) return Reject(*std::move(refusal));
      return Judge();
    }
    const auto& name = std::get<HostName>(host_);
    facts_.name = name;
    if (!owner_.services_.audit.healthy()) return Reject(AuditUnavailable());
    policy::NameVerdict verdict = owner_.services_.engine.DecideName(name);
    if (!verdict.grantable) return Reject(NameRefused(facts_, verdict));
    if (auto refusal = owner_.admit_(name, verdict)) return Reject(*std::move(refusal));
    if (verdict.chosen_target) return Judge();
    if (auto assigned = owner_.services_.resolver.Assign(name, verdict.resolvers); !assigned) {
      return Reject(Unreachable(Reason::kLimit, assigned.error().message()));
    }
    resolving_ = owner_.services_.resolver.Resolve(
        name, [this, verdict = std::move(verdict)](Result<ResolvedName> resolved) {
          OnResolved(verdict, std::move(resolved));
        });
  }

  void OnResolved(policy::NameVerdict verdict, Result<ResolvedName> resolved) {
    if (!resolved) {
      // What goes through the host's own proxy need not be known to the host.
      const ParentProxy* parent = owner_.services_.parent;
      if (parent != nullptr && !parent->Skips(host_, facts_.destination.port)) return Judge();
      const bool absent = resolved.error().code() == Code::kNotFound;
      return Reject(Unreachable(absent ? Reason::kNameNotFound : Reason::kResolverFailed,
                                resolved.error().message()));
    }
    auto refusal = JudgeChain(owner_.services_.engine, *facts_.name, policy::dns::kTypeA, resolved->chain,
                              verdict);
    if (refusal) return Reject(*std::move(refusal));
    facts_.destination.address = resolved->addresses.front();
    Judge();
  }

  void Judge() {
    generation_ = owner_.services_.engine.generation();
    Act(owner_.services_.engine.DecideFlow(facts_));
  }

  /// Reloaded meanwhile: another policy began or granted this.
  bool IsOutdated() const { return owner_.services_.engine.generation() != generation_; }

  void Await(std::shared_ptr<policy::SuspendedFlow> suspended) {
    waiting_ = owner_.services_.waits.Begin(
        suspended->wait(), {.facts = facts_}, [this, suspended](policy::WaitResult result) {
          if (IsOutdated()) return Judge();
          Act(suspended->Resume(std::move(result)));
        });
  }

  void Act(FlowVerdict verdict) {
    verdict_ = std::move(verdict);
    switch (verdict_.action) {
      case FlowVerdict::Action::kWait:
        return Await(std::move(verdict_.suspended));
      case FlowVerdict::Action::kDeny:
        return Reject(verdict_.Explain(facts_));
      case FlowVerdict::Action::kHttp:
        if (owner_.granted_) owner_.granted_(facts_);
        return Finish(
            mitm::HttpFlow{.facts = facts_, .verdict = std::move(verdict_), .refusal = {}});
      case FlowVerdict::Action::kRaw:
        break;
    }
    if (form_ == ProxyQuestion::Form::kRequest) return Reject(NoRequests(facts_, verdict_.rule()));
    auto opened =
        policy::OpenUse(owner_.services_.budgets, verdict_.budget(), owner_.services_.loop.now());
    if (opened.refusal) return Reject(*std::move(opened.refusal));
    spending_ = std::move(opened.spending);
    dialing_ = owner_.services_.dialer.Dial(
        DialTarget(facts_, verdict_), Transport::kTcp,
        [this](Result<Dialed> dialed) { OnDialed(std::move(dialed)); });
  }

  void OnDialed(Result<Dialed> dialed) {
    if (IsOutdated()) return Judge();
    if (!dialed) {
      return Reject(Unreachable(ReasonOf(dialed.error().code()), dialed.error().message()));
    }
    if (owner_.granted_) owner_.granted_(facts_);
    AuditRecord record;
    record.flow = facts_.flow;
    record.generation = generation_;
    record.transport = ToString(Transport::kTcp);
    if (facts_.name) record.name = facts_.name->text();
    record.address = dialed->peer.address;
    record.port = facts_.destination.port;
    record.rule = verdict_.rule();
    record.learnt = verdict_.learnt;
    record.allowed = true;
    Finish(mitm::ProxyRaw{.socket = std::move(dialed->socket),
                          .record = std::move(record),
                          .spending = std::move(spending_)});
  }

  void Reject(Refusal refusal) {
    mitm::HttpFlow flow{.facts = facts_, .verdict = {}, .refusal = std::move(refusal)};
    flow.verdict.by = verdict_.by;
    Finish(std::move(flow));
  }

  void Finish(ProxyVerdict verdict) {
    auto done = std::move(done_);
    owner_.decisions_.erase(id_);  // Destroys this.
    done(std::move(verdict));
  }

  ProxyDecisions& owner_;
  const uint64_t id_;
  const ProxyQuestion::Form form_;
  const Host host_;
  std::function<void(ProxyVerdict)> done_;
  policy::Facts facts_;
  FlowVerdict verdict_;
  policy::Spending spending_;
  uint64_t generation_ = 0;  // Of the policy that gave it.
  Loop::Handle posted_;
  Pending resolving_;
  Pending waiting_;
  Pending dialing_;
};

ProxyDecisions::ProxyDecisions(const Services& services, Attribute attribute, Admit admit,
                               Granted granted)
    : services_(services),
      attribute_(std::move(attribute)),
      admit_(std::move(admit)),
      granted_(std::move(granted)) {}
ProxyDecisions::~ProxyDecisions() = default;

Pending ProxyDecisions::Decide(const ProxyQuestion& question,
                               std::function<void(ProxyVerdict)> done) {
  const uint64_t id = next_id_++;
  decisions_.emplace(id, std::make_unique<Decision>(*this, id, question, std::move(done)));
  return Pending([this, id] { decisions_.erase(id); });
}

}  // namespace sallyport::runtime
