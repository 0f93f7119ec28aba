#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ip_address.h"
#include "policy/name_lists.h"

namespace sallyport::policy {

/// Lists of rule numbers by prefix, of both families: a hash table that is asked once for each
/// length that some prefix has, of which a policy has few.
class PrefixLists {
 public:
  /// Adds RULE, which is not less than any before it, to PREFIX's list, once.
  void Add(const Prefix& prefix, uint32_t rule);

  /// Calls VISIT(NameLists::List) for each prefix that contains ADDRESS; at most 33 times for IPv4,
  /// 129 for IPv6.
  template <class Visit>
  void ForEachContaining(const IpAddress& address, Visit&& visit) const {
    Look(address, kMostBits, visit);
  }
  /// The same for prefixes that contain all of PREFIX.
  template <class Visit>
  void ForEachContaining(const Prefix& prefix, Visit&& visit) const {
    Look(prefix.address(), prefix.length(), visit);
  }

 private:
  static constexpr unsigned kMostBits = 128;
  using Lengths = std::array<uint64_t, kMostBits / 64 + 1>;  // A bit each.

  // A prefix's length and bytes, as a text.
  class Key {
   public:
    explicit Key(const IpAddress& address);
    /// Clears the bits past LENGTH, which is not more than any before.
    void Cut(unsigned length);
    std::string_view text() const { return {bytes_.data(), size_}; }

   private:
    std::array<char, 1 + kMostBits / 8> bytes_;
    size_t size_;
  };

  template <class Visit>
  void Look(const IpAddress& address, unsigned longest, Visit& visit) const {
    const Lengths& lengths = lengths_[address.is_v4() ? 0 : 1];
    Key key(address);
    for (size_t word = lengths.size(); word-- > 0;) {
      for (uint64_t left = lengths[word]; left != 0; left &= ~std::bit_floor(left)) {
        const auto length = static_cast<unsigned>(64 * word + std::bit_width(left) - 1);
        if (length > longest) continue;
        key.Cut(length);
        const auto list = lists_.Find(key.text());
        if (list.begin != nullptr) visit(list);
      }
    }
  }

  NameLists lists_;
  std::array<Lengths, 2> lengths_{};  // Of IPv4, IPv6.
};

}  // namespace sallyport::policy
