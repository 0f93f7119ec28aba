#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/address_class.h"
#include "policy/prefix_lists.h"
#include "policy/prefix_trie.h"
#include "policy/rule_cursors.h"

namespace sallyport::policy {

/// Finds the rules whose `ip` has an address: by its group and by prefixes. Allocates nothing while
/// it looks at an IPv4 address.
class AddressIndex {
 public:
  enum class Widens {
    kNo,
    kEmbedded,  ///< It also has every IPv6 address that embeds one of its own: a `deny`.
  };
  /// RULE is not less than any before it.
  void Add(const AddressFilter& filter, Widens widens, uint32_t rule);

  /// Calls VISIT(rule) in ascending order, each rule once, until it returns false.
  template <class Visit>
  void ForEachMatch(const IpAddress& address, Visit&& visit) const {
    if (empty_) return;
    Cursors cursors;
    Collect(address, cursors);
    for (auto rule = cursors.Next(); rule; rule = cursors.Next()) {
      if (!visit(*rule)) return;
    }
  }

  /// Calls VISIT(rule) in ascending order for rules with a prefix that contains all of PREFIX, or
  /// with the group CLASSES (a set of AddressClass bits), until it returns false.
  template <class Visit>
  void ForEachCovering(const Prefix* prefix, uint16_t classes, Visit&& visit) const {
    Cursors cursors;
    for (size_t i = 0; i < own_.classes.size(); ++i) {
      if ((classes >> i & 1) != 0) cursors.Add(own_.classes[i]);
    }
    if (prefix != nullptr) {
      own_.prefixes.ForEachContaining(
          *prefix, [&](const auto& list) { cursors.Add(list.begin, list.end); });
    }
    for (auto rule = cursors.Next(); rule; rule = cursors.Next()) {
      if (!visit(*rule)) return;
    }
  }

  /// As PrefixTrie::HasWithin.
  bool HasWithin(const Prefix& prefix) const { return trie_.HasWithin(prefix); }

  /// As PrefixTrie::IsFilled.
  template <class Test>
  bool IsFilled(const Prefix& prefix, Test&& test) const {
    return trie_.IsFilled(prefix, test);
  }

 private:
  struct Lists {
    std::array<std::vector<uint32_t>, 16> classes;  // By the bit of an AddressClass.
    PrefixLists prefixes;
  };
  // Prefixes that contain an IPv6 address (129), the IPv4 one that it is mapped from and those that
  // it embeds (33 each; a local NAT64 form has four readings and may be an ISATAP one, too); a
  // group for each of them. Also enough for the groups and prefixes that cover a prefix.
  static constexpr size_t kMaxEmbedded = 5;
  using Cursors = RuleCursors<129 + 33 * (1 + kMaxEmbedded) + 2 + kMaxEmbedded>;

  void Collect(const IpAddress& address, Cursors& cursors) const;
  static void CollectFrom(const Lists& lists, const IpAddress& address, Cursors& cursors);

  bool empty_ = true;
  Lists own_;
  Lists widening_;   // Of those in own_, the rules that widen.
  PrefixTrie trie_;  // All of them again, for what lies within a prefix.
};

}  // namespace sallyport::policy
