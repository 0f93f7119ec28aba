#include "policy/prefix_trie.h"

#include <algorithm>
#include <bit>

namespace sallyport::policy {

PrefixTrie::Bits PrefixTrie::BitsOf(const IpAddress& address) {
  Bits bits;
  const auto bytes = address.bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    uint64_t& half = i < 8 ? bits.high : bits.low;
    half |= uint64_t{bytes[i]} << (56 - 8 * (i % 8));
  }
  return bits;
}

unsigned PrefixTrie::Common(const Bits& a, const Bits& b, unsigned limit) {
  auto common = static_cast<unsigned>(std::countl_zero(a.high ^ b.high));
  if (common == 64) common += static_cast<unsigned>(std::countl_zero(a.low ^ b.low));
  return std::min(common, limit);
}

uint32_t PrefixTrie::NewNode(const Bits& bits, unsigned length) {
  Node node;
  node.length = length;
  if (length > 0) node.bits.high = bits.high & UINT64_MAX << (length < 64 ? 64 - length : 0);
  if (length > 64) node.bits.low = bits.low & UINT64_MAX << (128 - length);
  nodes_.push_back(std::move(node));
  return static_cast<uint32_t>(nodes_.size() - 1);
}

bool PrefixTrie::HasWithin(const Prefix& prefix) const {
  const Bits bits = BitsOf(prefix.address());
  uint32_t at = roots_[prefix.address().is_v4() ? 0 : 1];
  while (at != kNone && nodes_[at].length < prefix.length()) {
    at = nodes_[at].children[bits.at(nodes_[at].length) ? 1 : 0];
  }
  if (at == kNone || Common(nodes_[at].bits, bits, prefix.length()) < prefix.length()) return false;
  const Node& node = nodes_[at];
  return node.length > prefix.length() || node.children[0] != kNone || node.children[1] != kNone;
}

void PrefixTrie::Add(const Prefix& prefix, uint32_t rule) {
  const bool v4 = prefix.address().is_v4();
  uint32_t root = roots_[v4 ? 0 : 1];
  AddBelow(root, BitsOf(prefix.address()), prefix.length(), rule);
  roots_[v4 ? 0 : 1] = root;
}

// LINK must not lie within nodes_, which grows here.
void PrefixTrie::AddBelow(uint32_t& link, const Bits& bits, unsigned length, uint32_t rule) {
  uint32_t parent = kNone;
  uint32_t at = link;
  unsigned common = 0;
  while (at != kNone) {
    common = Common(nodes_[at].bits, bits, std::min(nodes_[at].length, length));
    if (common < nodes_[at].length || common == length) break;
    parent = at;
    at = nodes_[at].children[bits.at(common) ? 1 : 0];
  }
  uint32_t into = at;
  if (at == kNone) {
    into = NewNode(bits, length);
  } else if (common < nodes_[at].length) {
    // What is there parts from the new prefix at `common`: a node for what they share.
    into = NewNode(bits, common);
    nodes_[into].children[nodes_[at].bits.at(common) ? 1 : 0] = at;
    if (common < length) {
      const uint32_t leaf = NewNode(bits, length);
      nodes_[into].children[bits.at(common) ? 1 : 0] = leaf;
      nodes_[leaf].rules.push_back(rule);
    }
  }
  if (into != at) {
    if (parent == kNone) {
      link = into;
    } else {
      nodes_[parent].children[bits.at(nodes_[parent].length) ? 1 : 0] = into;
    }
  }
  if (nodes_[into].length != length) return;
  auto& rules = nodes_[into].rules;
  if (rules.empty() || rules.back() != rule) rules.push_back(rule);
}

}  // namespace sallyport::policy
