#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <unordered_map>

#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/loop.h"

namespace sallyport::policy {

/// Synthetic addresses: each name that the guest may use, or is told about, has one of its own while it
/// is in use, so that a connection belongs to exactly one name. IPv4 from 198.18.0.0/15, IPv6 from a
/// random /64 in 2001:2::/48. Bounded: an address is taken back from the name that was not used for the
/// longest time, and given to another only after a quarantine. No I/O; time is passed in.
class NameTable {
 public:
  enum class Kind {
    kGranted,   ///< Some rule may grant a flow to it.
    kUnlisted,  ///< No rule can: it has an address only to answer why.
  };
  struct Limits {
    size_t granted = 8192;
    size_t unlisted = 1024;  ///< A pool of its own: a guest that asks for many names displaces none of use.
    Clock::duration quarantine = std::chrono::seconds(60);
  };
  struct Entry {
    HostName name;
    Kind kind = Kind::kGranted;
  };

  /// SEED picks the IPv6 prefix and the first addresses.
  NameTable(const Limits& limits, uint64_t seed);

  /// The address of NAME, now of KIND; of the family that V6 says. Both families belong to one entry.
  /// Nothing when every address is in use or in quarantine.
  enum class Family { kV4, kV6 };
  std::optional<IpAddress> Assign(const HostName& name, Kind kind, Family family, Clock::time_point now);

  /// Whose ADDRESS is; null for one that belongs to no name. Counts as use.
  const Entry* Lookup(const IpAddress& address);

  /// Whether ADDRESS is in a range that names get their addresses from.
  bool IsSynthetic(const IpAddress& address) const;

  /// A flow uses NAME's address: it is not taken back before Unpin().
  void Pin(const HostName& name);
  void Unpin(const HostName& name);

  size_t size() const { return by_name_.size(); }

 private:
  struct Slot {
    Entry entry;
    uint32_t number;  // The address within its range.
    unsigned pins = 0;
  };
  using Slots = std::list<Slot>;  // Least recently used first.
  struct Quarantined {
    uint32_t number;
    Clock::time_point until;
  };

  IpAddress AddressOf(uint32_t number, Family family) const;
  std::optional<uint32_t> NumberOf(const IpAddress& address) const;
  std::optional<uint32_t> TakeNumber(Clock::time_point now);
  bool MakeRoom(Kind kind, Clock::time_point now);
  void Touch(Slots::iterator slot);
  Slots& ListOf(Kind kind) { return kind == Kind::kGranted ? granted_ : unlisted_; }

  const Limits limits_;
  const std::array<uint8_t, 8> v6_prefix_;
  uint32_t next_;
  uint32_t used_numbers_ = 0;
  Slots granted_;
  Slots unlisted_;
  std::unordered_map<std::string, Slots::iterator> by_name_;
  std::unordered_map<uint32_t, Slots::iterator> by_number_;
  std::deque<Quarantined> quarantine_;  // Soonest free first.
};

}  // namespace sallyport::policy
