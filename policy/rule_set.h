#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dialer.h"
#include "policy/address_index.h"
#include "policy/host_index.h"
#include "policy/name_lists.h"
#include "policy/rule.h"
#include "policy/rule_numbers.h"

namespace sallyport::policy {

/// All rules of a policy, in order: the first that matches decides. Knows nothing of Lua.
class RuleSet {
 public:
  struct FlowDecision {
    const Rule* rule = nullptr;  ///< An allow of raw packets or a deny that decides the whole flow.
    Rule::Effect effect = Rule::Effect::kDeny;  ///< Of `rule`.
    RuleNumbers http;                           ///< Rules that decide its requests, in order.
    bool http_allowed = false;                  ///< One of them allows something,
    const Rule* grants = nullptr;               ///< the first of those,
    bool plain = true;              ///< and each leaves the flow its target, and public addresses.
    bool passthrough = false;       ///< There is one of them, with Tls::kPassthrough.
    const Rule* refuses = nullptr;  ///< Where nothing grants: the deny to be told, if there is one.
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
  RequestDecision DecideRequest(std::span<const uint32_t> http, std::string_view method,
                                std::string_view path, const Headers& headers) const;

 private:
  // What the decision of a flow asks of a rule. Of thousands of rules none is in a cache, and their
  // pages are in no TLB; these are 8 bytes each, and most flows are decided without the rule itself.
  struct Digest {
    explicit Digest(const Rule& rule);
    bool Speaks(Transport transport) const;
    bool ContainsInNear(uint16_t port) const;

    Rule::Kind kind;
    Rule::Effect effect;
    bool every_request : 1;
    bool has_otherwise : 1;
    bool passthrough : 1;
    bool plain : 1;             // It has no `to`, and of a name's addresses grants the public ones.
    bool grants_all_of_ip : 1;  // No address that its `ip` has is special within a wider prefix.
    bool has_web_ports : 1;     // 80 and 443, by themselves,
    bool has_more_ports : 1;    // and others than `first_port` to `last_port`.
    uint16_t first_port = 1;
    uint16_t last_port = 0;
  };
  static_assert(sizeof(Digest) == 8);

  /// Takes rule NUMBER, whose host or address matches, into account. False when the flow is
  /// decided.
  bool Consider(uint32_t number, Transport transport, uint16_t port, FlowDecision& decision) const;
  void AddHttp(uint32_t number, const Digest& digest, FlowDecision& decision) const;

  std::vector<Rule> rules_;
  std::vector<Digest> digests_;
  HostIndex hosts_;
  AddressIndex addresses_;
  NameLists ancestors_;  // A set: their lists mean nothing.
};

}  // namespace sallyport::policy
