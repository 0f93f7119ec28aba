// A flow's way, as steps:
//
//     Decide -> (gateway's DNS or proxy) | attribute a name -> policy
//                 wait  -> Opening: for the user, or a callback's time -> policy
//                 deny  -> record, refuse
//                 http  -> accept, hand to the interceptor, which records each request
//                 raw   -> Opening: dial -> splice … OnFlowEnd -> record
//
// Nothing here decides by itself but this: an audit log that can't be written denies, a synthetic address
// without a name is refused, and a refused name on port 80 or 443 is told so in HTTP.

#include "runtime/warden/gate.h"

#include <sys/random.h>

#include <algorithm>

#include "base/check.h"
#include "policy/gate_address.h"
#include "runtime/backend/backend.h"
#include "runtime/warden/flow_answers.h"

namespace sallyport::runtime {

using netstack::AcceptFlow;
using netstack::DenyFlow;
using netstack::FlowInfo;
using netstack::FlowStats;
using netstack::FlowVerdict;
using netstack::ServeFlow;
using netstack::SpliceFlow;
using policy::NameTable;

namespace {

static_assert(std::string_view(policy::kGateV4) == GuestNetwork::kGatewayV4 &&
              std::string_view(policy::kGateV6) == GuestNetwork::kGatewayV6);

constexpr uint16_t kDnsPort = 53;
constexpr uint16_t kProxyPort = 3128;
// Hosts that one connection to the proxy port may ask for before a reload no longer looks at each,
// but cuts it.
constexpr size_t kMaxDecided = 64;

bool IsWeb(const FlowInfo& flow) {
  return flow.transport == Transport::kTcp && (flow.destination.port == 80 || flow.destination.port == 443);
}

uint64_t RandomSeed() {
  uint64_t seed = 0;
  SALLYPORT_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

/// What a spliced flow carries, taken off its rule's budget.
class SpendingMeter final : public FlowMeter {
 public:
  explicit SpendingMeter(std::shared_ptr<policy::Spending> spending)
      : spending_(std::move(spending)) {}
  bool Count(uint64_t up, uint64_t down) override { return spending_->Count(up, down); }

 private:
  const std::shared_ptr<policy::Spending> spending_;
};

DenyFlow::As LooksLike(Code code) {
  switch (code) {
    case Code::kAddressRefused:
    case Code::kUnsupported:
      return DenyFlow::As::kProhibited;
    case Code::kRefused:
      return DenyFlow::As::kRefused;
    case Code::kTimeout:
    case Code::kProxyTimeout:
      return DenyFlow::As::kTimedOut;
    default:
      return DenyFlow::As::kUnreachable;
  }
}

}  // namespace

/// One decision on its way: posted, so that it never runs inside Decide(), then perhaps waited for, and
/// dialled.
class Gate::Opening {
 public:
  Opening(Gate& gate, uint64_t id, const FlowInfo& flow, std::function<void(FlowVerdict)> done)
      : gate_(gate), id_(id), flow_(flow), done_(std::move(done)) {
    posted_ = gate.services_.loop.Post([this] { OnTurn(); });
  }

 private:
  void OnTurn() {
    Next next;
    generation_ = gate_.services_.engine.generation();
    auto verdict = gate_.DecideNow(flow_, facts_, next);
    GoOn(std::move(verdict), std::move(next));
  }

  void GoOn(FlowVerdict verdict, Next next) {
    if (next.suspended) return Await(std::move(next.suspended));
    if (!next.dial) return Finish(std::move(verdict));
    dialing_ = gate_.services_.dialer.Dial(*next.dial, flow_.transport, [this](Result<Dialed> dialed) {
      Finish(gate_.OnDialed(flow_, std::move(dialed)));
    });
  }

  void Await(std::shared_ptr<policy::SuspendedFlow> suspended) {
    waiting_ = gate_.services_.waits.Begin(
        suspended->wait(), {.facts = facts_}, [this, suspended](policy::WaitResult result) {
          // Reloaded meanwhile: the question was another policy's.
          if (gate_.services_.engine.generation() != generation_) return OnTurn();
          Next next;
          auto verdict =
              gate_.Judge(flow_, facts_, suspended->Resume(std::move(result)), next);
          GoOn(std::move(verdict), std::move(next));
        });
  }

  void Finish(FlowVerdict verdict) {
    auto done = std::move(done_);
    gate_.openings_.erase(id_);  // Destroys this.
    done(std::move(verdict));
  }

  Gate& gate_;
  const uint64_t id_;
  const FlowInfo flow_;
  std::function<void(FlowVerdict)> done_;
  policy::Facts facts_;
  uint64_t generation_ = 0;  // Of the policy that decides.
  Loop::Handle posted_;
  Pending waiting_;
  Pending dialing_;
};

Gate::Gate(const Services& services)
    : services_(services),
      names_({}, RandomSeed()),
      dns_(services.loop, services.engine, services.resolver, names_, addresses_, services.audit, services.parent,
           [this](const HostName& name, const policy::NameVerdict& verdict) {
             return AdmitName(name, verdict);
           }),
      decisions_({services.loop, services.engine, services.resolver, services.dialer, services.audit,
                  services.waits, services.parent, services.budgets},
                 [this](policy::Facts& facts) { return Attribute(facts); },
                 [this](const HostName& name, const policy::NameVerdict& verdict) {
                   return AdmitName(name, verdict);
                 },
                 [this](const policy::Facts& facts) { OnProxyGrant(facts); }),
      proxy_({services.loop, services.interceptor, decisions_, services.audit}),
      shared_({services.loop, services.engine, services.interceptor, services.waits},
              [this](const policy::Facts& facts) { OnProxyGrant(facts); }) {}

Gate::~Gate() {
  openings_.clear();
  for (auto& [id, open] : open_) {
    if (open.audited_elsewhere) continue;
    open.record.detail = "the sandbox ended";
    services_.audit.Write(open.record);
  }
}

Pending Gate::Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) {
  const uint64_t id = next_opening_++;
  if (capture_ != nullptr) capture_->OnFlow(flow);
  // Bounded by the stack, which holds each SYN and first datagram meanwhile (StackOptions).
  openings_.emplace(id, std::make_unique<Opening>(*this, id, flow, std::move(done)));
  return Pending([this, id, flow_id = flow.id] {
    // The guest gave up before there was a flow. Afterwards the id is gone, and this does nothing.
    if (openings_.erase(id) > 0) Close(flow_id);
  });
}

FlowVerdict Gate::DecideNow(const FlowInfo& flow, policy::Facts& facts, Next& next) {
  const auto& target = flow.destination;
  if (target.port == kDnsPort && policy::IsGate(target.address)) {
    OpenOwn(flow, "gate: dns");
    Annotate(flow, "answered by the gate's resolver");
    if (flow.transport == Transport::kUdp) return ServeFlow{&dns_};
    return AcceptFlow{[this, flow](std::unique_ptr<Stream> stream) { dns_.Serve(flow, std::move(stream)); }};
  }

  if (target.port == kProxyPort && flow.transport == Transport::kTcp && policy::IsGate(target.address)) {
    OpenOwn(flow, "gate: proxy");
    Annotate(flow, "taken by the gate's proxy port");
    return AcceptFlow{[this, flow](std::unique_ptr<Stream> stream) {
      proxy_.Serve(std::move(stream), flow.id, flow.source, flow.destination);
    }};
  }

  facts = {.flow = flow.id,
           .transport = flow.transport,
           .source = flow.source,
           .destination = target,
           .name = {}};
  if (flow.transport == Transport::kTcp) {
    auto names = addresses_.Lookup(target.address, services_.loop.now());
    if (names.size() > 1 && MayBeHttp(facts, names)) return AcceptShared(flow, facts, std::move(names));
  }
  if (const auto refusal = Attribute(facts)) return Deny(flow, facts, *refusal);
  return Judge(flow, facts, services_.engine.DecideFlow(facts), next);
}

FlowVerdict Gate::Judge(const FlowInfo& flow, const policy::Facts& facts, policy::FlowVerdict verdict,
                        Next& next) {
  switch (verdict.action) {
    case policy::FlowVerdict::Action::kWait:
      next.suspended = std::move(verdict.suspended);
      return DenyFlow{};
    case policy::FlowVerdict::Action::kDeny:
      return Deny(flow, facts, verdict.Explain(facts));
    case policy::FlowVerdict::Action::kHttp:
      Annotate(flow, "intercepted", verdict.rule());
      return Intercept(flow, {.facts = facts, .verdict = std::move(verdict), .refusal = {}});
    case policy::FlowVerdict::Action::kRaw:
      break;
  }
  auto opened = policy::OpenUse(services_.budgets, verdict.budget(), services_.loop.now());
  if (opened.refusal) return Deny(flow, facts, *opened.refusal);
  Annotate(flow, "allowed", verdict.rule());
  next.dial = DialTarget(facts, verdict);
  Open open;
  if (opened.spending.counts()) {
    open.spending = std::make_shared<policy::Spending>(std::move(opened.spending));
  }
  open.record = RecordOf(flow, facts);
  open.record.allowed = true;
  open.record.rule = verdict.rule();
  open.record.learnt = verdict.learnt;
  open.pinned = facts.name;
  open.decided.push_back(facts);
  KeepOpen(flow.id, std::move(open));
  return DenyFlow{};
}

/// Gives FACTS the name and the address that stand behind a synthetic address; or says why nothing
/// can be asked of the policy.
std::optional<Refusal> Gate::Attribute(policy::Facts& facts) {
  const IpAddress address = facts.destination.address;
  const auto* entry = names_.Lookup(address);
  if (!entry && names_.IsSynthetic(address)) {
    return Refuse(Reason::kUnknownAddress,
                  address.ToString() + " belongs to no name; look the name up again");
  }
  if (entry) {
    facts.name = entry->name;
    if (const auto* resolved = services_.resolver.Cached(entry->name)) {
      facts.destination.address = resolved->addresses.front();
    }
  } else {
    const auto names = addresses_.Lookup(address, services_.loop.now());
    if (names.size() > 1) return SharedByNames(facts, names);
    if (!names.empty()) facts.name = names.front();
  }
  if (!services_.audit.healthy()) return AuditUnavailable();
  // Asked again, because a policy may have been loaded that grants it.
  if (entry && entry->kind == NameTable::Kind::kUnlisted) {
    const auto verdict = services_.engine.DecideName(entry->name);
    if (!verdict.grantable) return NameRefused(facts, verdict);
  }
  // A guest's loopback is its own; a packet to it never gets here, but the proxy can be asked for it. And
  // outside, the gate's own address may be anybody's.
  return facts.name ? std::nullopt : policy::RefuseByAddress(facts);
}

/// Whether the client of a connection to an address of NAMES would say which one it means, if it is one
/// that the policy could grant.
bool Gate::MayBeHttp(const policy::Facts& facts, const std::vector<HostName>& names) {
  if (!services_.audit.healthy()) return false;
  if (facts.destination.port == 80 || facts.destination.port == 443) return true;
  return std::any_of(names.begin(), names.end(), [&](const HostName& name) {
    policy::Facts named = facts;
    named.name = name;
    return services_.engine.DecideFlow(named).action == policy::FlowVerdict::Action::kHttp;
  });
}

FlowVerdict Gate::AcceptShared(const FlowInfo& flow, const policy::Facts& facts,
                               std::vector<HostName> names) {
  Annotate(flow, "taken, to hear which name is meant");
  Open open;
  open.audited_elsewhere = true;
  open.record = RecordOf(flow, facts);  // Only to be looked at: see NoteOf().
  KeepOpen(flow.id, std::move(open));
  auto kept = std::make_shared<std::vector<HostName>>(std::move(names));
  return AcceptFlow{[this, facts, kept](std::unique_ptr<Stream> stream) {
    shared_.Serve(std::move(stream), facts, std::move(*kept));
  }};
}

FlowVerdict Gate::Deny(const FlowInfo& flow, const policy::Facts& facts, const Refusal& refusal) {
  Annotate(flow, "denied", refusal.rule, ToString(refusal.reason));
  // A named web flow is told why in its own language; the interceptor records each request.
  if (facts.name && IsWeb(flow)) {
    return Intercept(flow, {.facts = facts, .verdict = {}, .refusal = refusal});
  }
  AuditRecord record = RecordOf(flow, facts);
  record.reason = refusal.reason;
  record.rule = refusal.rule;
  record.detail = refusal.detail;
  record.how_to_allow = refusal.how_to_allow;
  services_.audit.Write(record);
  return DenyFlow{DenyFlow::As::kProhibited};
}

FlowVerdict Gate::Intercept(const FlowInfo& flow, mitm::HttpFlow http) {
  Open open;
  open.audited_elsewhere = true;
  open.record = RecordOf(flow, http.facts);  // Only to be looked at: see NoteOf().
  open.record.rule = http.refusal ? http.refusal->rule : http.verdict.rule();
  open.pinned = http.facts.name;
  open.refused = http.refusal.has_value();
  open.decided.push_back(http.facts);
  KeepOpen(flow.id, std::move(open));
  auto kept = std::make_shared<mitm::HttpFlow>(std::move(http));
  return AcceptFlow{[this, kept](std::unique_ptr<Stream> stream) {
    services_.interceptor.Serve(std::move(stream), std::move(*kept));
  }};
}

FlowVerdict Gate::OnDialed(const FlowInfo& flow, Result<Dialed> dialed) {
  Open& open = open_[flow.id];
  if (open.cut) dialed = sallyport::Fail(Code::kAddressRefused, "the policy was reloaded meanwhile");
  if (dialed) {
    open.record.address = dialed->peer.address;
    return SpliceFlow{std::move(dialed->socket), MeterOf(flow.id, open)};
  }
  open.record.allowed = false;
  open.record.reason = ReasonOf(dialed.error().code());
  open.record.detail = dialed.error().message();
  services_.audit.Write(open.record);
  Close(flow.id);
  return DenyFlow{LooksLike(dialed.error().code())};
}

/// From now on the flow spends.
std::unique_ptr<FlowMeter> Gate::MeterOf(uint64_t flow, Open& open) {
  if (open.spending == nullptr) return nullptr;
  if (const auto lifetime = open.spending->lifetime()) {
    open.lifetime = services_.loop.After(*lifetime, [this, flow, spending = open.spending] {
      spending->OnLifetimeOver();
      if (cut_) cut_(flow);
    });
  }
  return std::make_unique<SpendingMeter>(open.spending);
}

/// Why NAME, which VERDICT grants, is not to be resolved now.
std::optional<Refusal> Gate::AdmitName(const HostName& name, const policy::NameVerdict& verdict) {
  const auto now = services_.loop.now();
  if (services_.budgets != nullptr) {
    if (auto refusal = services_.budgets->Take(verdict.budget, now)) return refusal;
  }
  if (verdict.listed || verdict.chosen_target) return std::nullopt;
  return tunnel_guard_.Check(name, now);
}

void Gate::OnFlowEnd(const FlowInfo& flow, const FlowStats& stats) {
  const auto found = open_.find(flow.id);
  if (found == open_.end()) return;
  Open& open = found->second;
  if (!open.audited_elsewhere) {
    open.record.sent = true;
    open.record.bytes_up = stats.bytes_up;
    open.record.bytes_down = stats.bytes_down;
    open.record.duration = stats.duration;
    if (open.spending != nullptr && open.spending->why()) {
      open.record.allowed = false;
      open.record.reason = open.spending->why()->reason;
      open.record.detail = open.spending->why()->detail;
    }
    services_.audit.Write(open.record);
  }
  Close(flow.id);
}

/// A service of the gate's own, which records each question or request by itself.
void Gate::OpenOwn(const FlowInfo& flow, const char* what) {
  Open& open = open_[flow.id];
  open.audited_elsewhere = true;
  open.record.rule = what;
}

/// Without what tells these apart, so that a flood is few lines: they are counted as one.
void Gate::OnFlowRefused(const FlowInfo& flow, netstack::Drop why) {
  AuditRecord record;
  record.transport = ToString(flow.transport);
  if (why == netstack::Drop::kNotForUs) {
    record.address = flow.destination.address;
    record.port = flow.destination.port;
    record.reason = Reason::kAddressRefused;
    record.detail = "datagrams to multicast and broadcast addresses go nowhere";
    return services_.audit.Write(record);
  }
  record.reason = Reason::kLimit;
  record.detail = why == netstack::Drop::kFlowRate
                      ? "more new flows in a second than a sandbox may begin"
                      : "as many flows as a sandbox may have are open";
  services_.audit.Write(record);
  if (capture_ != nullptr) capture_->OnRefused(flow, "denied: limit, " + record.detail);
}

Gate::FlowNote Gate::NoteOf(uint64_t flow) const {
  const auto found = open_.find(flow);
  if (found == open_.end()) return {};
  const AuditRecord& record = found->second.record;
  return {.name = record.name, .address = record.address, .rule = record.rule};
}

void Gate::Annotate(const FlowInfo& flow, std::string_view verdict, std::string_view rule,
                    std::string_view reason) {
  if (capture_ == nullptr) return;
  std::string text(verdict);
  if (!rule.empty()) text.append(" by ").append(rule);
  if (!reason.empty()) text.append(": ").append(reason);
  capture_->OnVerdict(flow.id, text);
}

AuditRecord Gate::RecordOf(const FlowInfo& flow, const policy::Facts& facts) const {
  AuditRecord record;
  record.flow = flow.id;
  record.generation = services_.engine.generation();
  record.transport = ToString(flow.transport);
  if (facts.name) record.name = facts.name->text();
  if (!names_.IsSynthetic(facts.destination.address)) record.address = facts.destination.address;
  record.port = flow.destination.port;
  return record;
}

/// Nothing of Attribute(): a name keeps its name, an address its address.
Gate::Terms Gate::OpenTerms() {
  Terms terms;
  for (const auto& [id, open] : open_) {
    auto& of_flow = terms[id];
    for (const auto& facts : open.decided) of_flow.push_back(services_.engine.FlowTerms(facts));
  }
  return terms;
}

std::vector<uint64_t> Gate::Changed(const Terms& before) {
  AssignAgain();
  std::vector<uint64_t> changed;
  const Terms now = OpenTerms();
  for (auto& [id, open] : open_) {
    const auto known = before.find(id);
    const auto& terms = now.at(id);
    const bool denied = std::find(terms.begin(), terms.end(), "") != terms.end();
    const bool same = known != before.end() && known->second == terms && denied == open.refused;
    if (same && open.decided.size() < kMaxDecided) continue;
    open.cut = true;
    open.record.detail = "cut, because the policy was reloaded";
    changed.push_back(id);
  }
  return changed;
}

/// Names may have other resolvers of their own now, or none. One that is not granted is not asked
/// about until a policy grants it again, which decides it here, too.
void Gate::AssignAgain() {
  for (const HostName& name : services_.resolver.assigned()) {
    const auto verdict = services_.engine.DecideName(name);
    if (verdict.grantable) (void)services_.resolver.Assign(name, verdict.resolvers);
  }
}

void Gate::OnProxyGrant(const policy::Facts& facts) {
  const auto found = open_.find(facts.flow);
  if (found == open_.end()) return;
  auto& decided = found->second.decided;
  const auto same = [&facts](const policy::Facts& other) {
    return other.name == facts.name && other.destination == facts.destination;
  };
  if (decided.size() >= kMaxDecided || std::any_of(decided.begin(), decided.end(), same)) return;
  decided.push_back(facts);
}

void Gate::KeepOpen(uint64_t flow, Open open) {
  if (open.pinned) names_.Pin(*open.pinned);
  open_.insert_or_assign(flow, std::move(open));
}

void Gate::Close(uint64_t flow) {
  const auto found = open_.find(flow);
  if (found == open_.end()) return;
  if (found->second.pinned) names_.Unpin(*found->second.pinned);
  open_.erase(found);
}

}  // namespace sallyport::runtime
