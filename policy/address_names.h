#pragma once

#include <list>
#include <unordered_map>
#include <vector>

#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/loop.h"

namespace sallyport::policy {

/// Which names the guest was told an address for, with `dns { answers = "real" }`: servers share
/// addresses, so it may be several. An address keeps a name until some time after the answer's TTL,
/// and longer while it is used. Bounded; the one that was not used for the longest time goes first.
/// No I/O; time is passed in.
class AddressNames {
 public:
  struct Limits {
    size_t addresses = 8192;
    size_t names = 16;  ///< Of one address; the one told longest ago goes.
    /// How long after the TTL, or the last use, an address keeps its names: programs keep what they
    /// were told for longer than they should.
    Clock::duration grace = std::chrono::minutes(10);
  };

  AddressNames() : AddressNames(Limits()) {}
  explicit AddressNames(const Limits& limits) : limits_(limits) {}

  /// The guest is told that NAME has ADDRESS, for TTL.
  void Learn(const HostName& name, const IpAddress& address, Clock::duration ttl,
             Clock::time_point now);

  /// The names of ADDRESS, the one told last first; none for an address that the guest was told of
  /// nobody. Counts as use.
  std::vector<HostName> Lookup(const IpAddress& address, Clock::time_point now);

  size_t size() const { return by_address_.size(); }

 private:
  struct Known {
    HostName name;
    Clock::time_point until;
  };
  struct Entry {
    std::string key;
    std::list<Known> names;  // Told last first; never empty.
  };
  using Entries = std::list<Entry>;  // Least recently used first.

  const Limits limits_;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> by_address_;
};

}  // namespace sallyport::policy
