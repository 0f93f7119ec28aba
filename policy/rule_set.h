#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/dialer.h"
#include "policy/rule.h"

namespace sallyport::policy {

/// Finds the rules whose hosts match a name: a hash for exact names, another for the zones of
/// wildcards, asked once for each label of the name. Allocates nothing while it looks.
class HostIndex {
 public:
  void Add(const HostPattern& pattern, uint32_t rule);

  /// Calls VISIT(rule) in ascending order, each rule once, until it returns false.
  template <class Visit>
  void ForEachMatch(std::string_view name, Visit&& visit) const {
    Cursors cursors;
    Collect(name, cursors);
    for (auto rule = Next(cursors); rule; rule = Next(cursors)) {
      if (!visit(*rule)) return;
    }
  }

  /// Whether a rule with a number below LIMIT has a pattern that covers PATTERN and passes FILTER.
  /// Returns the first.
  template <class Filter>
  std::optional<uint32_t> FirstCovering(const HostPattern& pattern, uint32_t limit,
                                        Filter&& filter) const {
    Cursors cursors;
    CollectCovering(pattern, cursors);
    for (auto rule = Next(cursors); rule && *rule < limit; rule = Next(cursors)) {
      if (filter(*rule)) return rule;
    }
    return std::nullopt;
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Table = std::unordered_map<std::string, std::vector<uint32_t>, Hash, std::equal_to<>>;

  // A name of 253 bytes has at most 127 labels; one list for each, the exact one, and `any`.
  static constexpr size_t kMaxLists = 129;
  struct Cursors {
    std::array<const uint32_t*, kMaxLists> at;
    std::array<const uint32_t*, kMaxLists> end;
    size_t count = 0;
    void Add(const std::vector<uint32_t>& list);
  };

  void Collect(std::string_view name, Cursors& cursors) const;
  void CollectCovering(const HostPattern& pattern, Cursors& cursors) const;
  void CollectZones(std::string_view first_zone, Cursors& cursors) const;
  static std::optional<uint32_t> Next(Cursors& cursors);

  Table exact_;
  Table zones_;
  std::vector<uint32_t> any_;
};

/// All rules of a policy, in order: the first that matches decides. Knows nothing of Lua.
class RuleSet {
 public:
  struct FlowDecision {
    const Rule* rule = nullptr;  ///< An allow.tcp, allow.udp or a deny that decides the whole flow.
    std::vector<uint32_t> http;  ///< Rules that decide its requests, in order.
    bool http_allowed = false;   ///< One of them allows something.
  };

  struct NameDecision {
    bool grantable = false;
    bool ancestor = false;
    AddressFilter filter;
    std::vector<uint16_t> types;
    bool chosen_target = false;
    const Rule* denied_by = nullptr;  ///< A rule that says so: callbacks are not asked.
  };

  struct RequestDecision {
    const Rule* rule = nullptr;  ///< Null when none matches.
    bool allowed = false;
    bool by_otherwise = false;  ///< It is the `otherwise` of `rule` that refuses.
  };

  void Add(Rule rule);

  const std::vector<Rule>& rules() const { return rules_; }
  const HostIndex& index() const { return index_; }

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
  HostIndex index_;
  std::vector<uint32_t> by_address_;  // Rules with `ip`.
  std::unordered_set<std::string> ancestors_;
};

}  // namespace sallyport::policy
