#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ip_address.h"

namespace sallyport::policy {

/// Prefixes of both families with the rules that name them, for what lies within a prefix: a binary
/// trie without the nodes that have one child and no rule.
class PrefixTrie {
 public:
  /// RULE is not less than any before it.
  void Add(const Prefix& prefix, uint32_t rule);

  /// Whether a prefix lies within PREFIX and is not PREFIX itself.
  bool HasWithin(const Prefix& prefix) const;

  /// Whether prefixes within PREFIX, PREFIX itself among them, together have all of its addresses, where
  /// only rules count for which TEST(rule) holds.
  template <class Test>
  bool IsFilled(const Prefix& prefix, Test&& test) const {
    const Bits bits = BitsOf(prefix.address());
    uint32_t at = prefix.address().is_v4() ? roots_[0] : roots_[1];
    while (at != kNone && nodes_[at].length < prefix.length()) {
      if (Common(nodes_[at].bits, bits, nodes_[at].length) < nodes_[at].length) return false;
      at = nodes_[at].children[bits.at(nodes_[at].length) ? 1 : 0];
    }
    if (at == kNone || Common(nodes_[at].bits, bits, prefix.length()) < prefix.length()) return false;
    return IsFilledAt(at, prefix.length(), test);
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Bits {
    uint64_t high = 0;
    uint64_t low = 0;
    bool at(unsigned position) const {
      return position < 64 ? (high >> (63 - position) & 1) != 0
                           : (low >> (127 - position) & 1) != 0;
    }
  };
  struct Node {
    Bits bits;            // Those past `length` are 0.
    unsigned length = 0;  // Of the prefix that all below share.
    std::array<uint32_t, 2> children = {kNone, kNone};
    std::vector<uint32_t> rules;
  };

  static Bits BitsOf(const IpAddress& address);
  /// How many leading bits A and B share, at most LIMIT.
  static unsigned Common(const Bits& a, const Bits& b, unsigned limit);
  uint32_t NewNode(const Bits& bits, unsigned length);
  void AddBelow(uint32_t& link, const Bits& bits, unsigned length, uint32_t rule);

  // Each level has one bit more, and below a gap nothing is looked at.
  template <class Test>
  bool IsFilledAt(uint32_t at, unsigned length, Test& test) const {
    if (at == kNone || nodes_[at].length != length) return false;
    const Node& node = nodes_[at];
    for (const uint32_t rule : node.rules) {
      if (test(rule)) return true;
    }
    return IsFilledAt(node.children[0], length + 1, test) &&
           IsFilledAt(node.children[1], length + 1, test);
  }

  std::vector<Node> nodes_;
  std::array<uint32_t, 2> roots_ = {kNone, kNone};  // IPv4, IPv6.
};

}  // namespace sallyport::policy
