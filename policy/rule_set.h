#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dialer.h"
#include "policy/address_index.h"
#include "policy/host_index.h"
#include "policy/name_lists.h"
#include "policy/rule.h"

namespace sallyport::policy {

/// All rules of a policy, in order: the first that matches decides. Knows nothing of Lua.
class RuleSet {
 public:
  struct FlowDecision {
    const Rule* rule = nullptr;  ///< An allow of raw packets or a deny that decides the whole flow.
    std::vector<uint32_t> http;  ///< Rules that decide its requests, in order.
    bool http_allowed = false;   ///< One of them allows something.
  };

  struct NameDecision {
    bool grantable = false;
    bool ancestor = false;
    AddressFilter filter;
    std::vector<uint16_t> types;
    bool chosen_target = false;
    bool listed = false;
    RuleBudgetPtr budget;
    const Rule* denied_by = nullptr;  ///< A rule that says so: callbacks are not asked.
    /// Where nothing is granted: the deny that took it all, or speaks of all requests for the name.
    const Rule* nothing_left_by = nullptr;
  };

  struct RequestDecision {
    const Rule* rule = nullptr;  ///< Null when none matches.
    bool allowed = false;
    bool by_otherwise = false;  ///< It is the `otherwise` of `rule` that refuses.
  };

  void Add(Rule&& rule);

  const std::vector<Rule>& rules() const { return rules_; }
  const HostIndex& hosts() const { return hosts_; }
  const AddressIndex& addresses() const { return addresses_; }

  /// Decides a flow to NAME, or without one (null) to ADDRESS.
  FlowDecision DecideFlow(Transport transport, const HostName* name, const IpAddress& address,
                          uint16_t port) const;
  NameDecision DecideName(const HostName& name) const;
  /// Decides a request among the rules in HTTP, as a FlowDecision has them.
  RequestDecision DecideRequest(const std::vector<uint32_t>& http, std::string_view method,
                                std::string_view path, const Headers& headers) const;

 private:
  bool Consider(const Rule& rule, uint32_t number, Transport transport, uint16_t port,
                FlowDecision& decision) const;

  std::vector<Rule> rules_;
  HostIndex hosts_;
  AddressIndex addresses_;
  NameLists ancestors_;  // A set: their lists mean nothing.
};

}  // namespace sallyport::policy
