#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/audit.h"
#include "base/loop.h"
#include "mitm/interceptor.h"
#include "mitm/proxy_port.h"
#include "netstack/capture.h"
#include "netstack/flow_decider.h"
#include "policy/address_names.h"
#include "policy/budget_book.h"
#include "policy/engine.h"
#include "policy/name_table.h"
#include "policy/tunnel_guard.h"
#include "runtime/dial/parent_proxy.h"
#include "runtime/dial/split_resolver.h"
#include "runtime/warden/dns_service.h"
#include "runtime/warden/proxy_decisions.h"
#include "runtime/warden/shared_address.h"

namespace sallyport::runtime {

/// Where the stack's question becomes the policy's answer: attributes each flow to a name, asks the
/// policy, and dials, intercepts or refuses; one audit record for each.
class Gate : public netstack::FlowDecider {
 public:
  struct Services {
    Loop& loop;
    policy::Engine& engine;
    SplitResolver& resolver;
    Dialer& dialer;
    mitm::Interceptor& interceptor;
    AuditSink& audit;
    policy::WaitService& waits;
    const ParentProxy* parent = nullptr;  ///< What TCP goes through; null for none.
    policy::BudgetBook* budgets = nullptr;  ///< None: what has a budget is refused.
  };

  explicit Gate(const Services& services);
  /// Writes the records of flows that are still open.
  ~Gate() override;

  /// What is granted to each flow that is open: FlowTerms() of each decision about it.
  using Terms = std::map<uint64_t, std::vector<std::string>>;
  Terms OpenTerms();
  /// The policy was replaced, and BEFORE is OpenTerms() of the one until then: the flows that are to be
  /// cut, because they are denied now or granted on other terms; also those which were told a refusal
  /// that would not be told any more. They end as ever, and their records say why.
  std::vector<uint64_t> Changed(const Terms& before);

  Pending Decide(const netstack::FlowInfo& flow, std::function<void(netstack::FlowVerdict)> done) override;
  void OnFlowEnd(const netstack::FlowInfo& flow, const netstack::FlowStats& stats) override;
  void OnFlowRefused(const netstack::FlowInfo& flow, netstack::Drop why) override;

  /// What is known of an open flow besides what the stack knows.
  struct FlowNote {
    std::string name;                  ///< Empty when the flow has none.
    std::optional<IpAddress> address;  ///< Dialled; never a synthetic one.
    std::string rule;                  ///< What granted it; "gate: dns", "gate: proxy" for our own.
  };
  FlowNote NoteOf(uint64_t flow) const;

  /// Says in CAPTURE, which outlives this, where each flow begins and what was decided about it. None
  /// by default.
  void AnnotateIn(netstack::Capture* capture) { capture_ = capture; }

  /// CUT ends a flow by its id; for those whose `lifetime` is over. Without it they go on.
  void CutWith(std::function<void(uint64_t)> cut) { cut_ = std::move(cut); }

 private:
  /// A flow whose destination is being dialled.
  class Opening;
  /// What a relayed flow's record says, until its end brings the numbers.
  struct Open {
    AuditRecord record;
    std::optional<HostName> pinned;  ///< The name whose synthetic address it uses.
    bool audited_elsewhere = false;  ///< HTTP: each request has its own record.
    std::shared_ptr<policy::Spending> spending;  ///< Of its rule's budget; null for none.
    Loop::Handle lifetime;
    bool refused = false;            ///< Open only to tell a refusal.
    bool cut = false;                ///< By a reload.
    /// What the policy was asked about it: once, but for clients of the proxy port.
    std::vector<policy::Facts> decided;
  };

  /// What a flow needs before it has a verdict. At most one is set.
  struct Next {
    std::optional<Destination> dial;                   ///< Then OnDialed().
    std::shared_ptr<policy::SuspendedFlow> suspended;  ///< Then Judge() with what it says.
  };
  /// The verdict, unless NEXT says that there is none yet. FACTS are filled in.
  netstack::FlowVerdict DecideNow(const netstack::FlowInfo& flow, policy::Facts& facts, Next& next);
  netstack::FlowVerdict Judge(const netstack::FlowInfo& flow, const policy::Facts& facts,
                              policy::FlowVerdict verdict, Next& next);
  std::optional<Refusal> Attribute(policy::Facts& facts);
  bool MayBeHttp(const policy::Facts& facts, const std::vector<HostName>& names);
  netstack::FlowVerdict AcceptShared(const netstack::FlowInfo& flow, const policy::Facts& facts,
                                     std::vector<HostName> names);
  netstack::FlowVerdict Deny(const netstack::FlowInfo& flow, const policy::Facts& facts,
                             const Refusal& refusal);
  netstack::FlowVerdict Intercept(const netstack::FlowInfo& flow, mitm::HttpFlow http);
  netstack::FlowVerdict OnDialed(const netstack::FlowInfo& flow, Result<Dialed> dialed);
  std::unique_ptr<FlowMeter> MeterOf(uint64_t flow, Open& open);
  std::optional<Refusal> AdmitName(const HostName& name, const policy::NameVerdict& verdict);
  void OpenOwn(const netstack::FlowInfo& flow, const char* what);
  void Annotate(const netstack::FlowInfo& flow, std::string_view verdict, std::string_view rule = {},
                std::string_view reason = {});
  AuditRecord RecordOf(const netstack::FlowInfo& flow, const policy::Facts& facts) const;
  void AssignAgain();
  void OnProxyGrant(const policy::Facts& facts);
  void KeepOpen(uint64_t flow, Open open);
  void Close(uint64_t flow);

  Services services_;
  policy::NameTable names_;
  policy::AddressNames addresses_;  ///< Of answers = "real".
  policy::TunnelGuard tunnel_guard_;
  DnsService dns_;
  ProxyDecisions decisions_;
  mitm::ProxyPort proxy_;
  SharedAddress shared_;
  uint64_t next_opening_ = 1;
  std::map<uint64_t, std::unique_ptr<Opening>> openings_;
  std::map<uint64_t, Open> open_;
  std::function<void(uint64_t)> cut_;
  netstack::Capture* capture_ = nullptr;
};

}  // namespace sallyport::runtime
