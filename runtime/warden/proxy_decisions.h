#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/audit.h"
#include "base/dialer.h"
#include "base/loop.h"
#include "mitm/proxy_port.h"
#include "policy/budget_book.h"
#include "policy/engine.h"
#include "runtime/dial/parent_proxy.h"
#include "runtime/dial/split_resolver.h"

namespace sallyport::runtime {

/// Decides what clients of the proxy port ask for, as the guest's own lookup and connection would
/// have been: a name is resolved only if the policy has a use for it, then the policy sees the same
/// facts, and a raw flow is dialled by the same dialler.
class ProxyDecisions final : public mitm::ProxyDecider {
 public:
  struct Services {
    Loop& loop;
    policy::Engine& engine;
    SplitResolver& resolver;
    Dialer& dialer;
    AuditSink& audit;
    policy::WaitService& waits;
    const ParentProxy* parent = nullptr;  ///< What TCP goes through; null for none.
    policy::BudgetBook* budgets = nullptr;  ///< None: what has a budget is refused.
  };
  /// Completes the facts of a flow to a literal address, which may be a name's synthetic one; or
  /// says why it is refused before the policy is asked.
  using Attribute = std::function<std::optional<Refusal>(policy::Facts&)>;

  /// Why a granted name may not be resolved now.
  using Admit =
      std::function<std::optional<Refusal>(const HostName&, const policy::NameVerdict&)>;
  /// Told of the facts of each flow or request that is granted.
  using Granted = std::function<void(const policy::Facts&)>;

  ProxyDecisions(const Services& services, Attribute attribute, Admit admit, Granted granted = {});
  ~ProxyDecisions() override;

  Pending Decide(const mitm::ProxyQuestion& question,
                 std::function<void(mitm::ProxyVerdict)> done) override;

 private:
  class Decision;

  const Services services_;
  const Attribute attribute_;
  const Admit admit_;
  const Granted granted_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Decision>> decisions_;
};

}  // namespace sallyport::runtime
