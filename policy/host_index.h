#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "policy/name_lists.h"
#include "policy/rule_cursors.h"

namespace sallyport::policy {

/// Finds the rules whose hosts match a name: a hash for exact names, another for the zones of
/// wildcards, asked once for each ending of the name that has as many labels as some zone.
/// Allocates nothing while it looks.
class HostIndex {
 public:
  /// RULE is not less than any before it.
  void Add(const HostPattern& pattern, uint32_t rule);

  /// Calls VISIT(rule) in ascending order, each rule once, until it returns false.
  template <class Visit>
  void ForEachMatch(std::string_view name, Visit&& visit) const {
    Cursors cursors;
    Collect(name, cursors);
    for (auto rule = cursors.Next(); rule; rule = cursors.Next()) {
      if (!visit(*rule)) return;
    }
  }

  /// The rules with NAME itself among their hosts, in ascending order.
  NameLists::List Listing(std::string_view name) const { return exact_.Find(name); }

  /// As ForEachMatch, for rules that have a pattern which covers PATTERN.
  template <class Visit>
  void ForEachCovering(const HostPattern& pattern, Visit&& visit) const {
    Cursors cursors;
    CollectCovering(pattern, cursors);
    for (auto rule = cursors.Next(); rule; rule = cursors.Next()) {
      if (!visit(*rule)) return;
    }
  }

 private:
  // A name of 253 bytes has no more; one list for each, the exact one, and `any`.
  static constexpr size_t kMostLabels = 127;
  using Cursors = RuleCursors<kMostLabels + 2>;

  void Collect(std::string_view name, Cursors& cursors) const;
  void CollectCovering(const HostPattern& pattern, Cursors& cursors) const;
  void CollectZones(std::string_view name, Cursors& cursors) const;

  NameLists exact_;
  NameLists zones_;
  std::bitset<kMostLabels + 1> zone_depths_;  // How many labels they have.
  size_t deepest_zone_ = 0;
  std::vector<uint32_t> any_;
};

}  // namespace sallyport::policy
