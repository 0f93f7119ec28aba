#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"

namespace sallyport::runtime {

/// What a name resolved to on the host, unfiltered.
struct ResolvedName {
  std::vector<IpAddress> addresses;  ///< Never empty.
  std::vector<HostName> chain;       ///< The CNAMEs that led there, in order.
  Clock::time_point expires;
};

/// Records of one type of a name.
struct ResolvedRecords {
  std::vector<std::string> data;  ///< As policy::dns::RecordsAnswer has it; empty: it has none.
  std::vector<HostName> chain;    ///< The CNAMEs that led there, in order.
  Clock::time_point expires;
};

/// Resolves names for the gate. Only for names that the policy grants: asking is already a message
/// to the outside.
class Resolver {
 public:
  virtual ~Resolver() = default;

  /// The addresses of NAME, from a cache while their TTL lasts, and for a while longer where no resolver
  /// can answer. kNotFound: the name does not exist or
  /// has no address; kTimeout or kUnreachable: no resolver answered (the message says which).
  virtual Pending Resolve(const HostName& name, std::function<void(Result<ResolvedName>)> done) = 0;

  /// What the cache holds of NAME now; null when it holds nothing that is still good.
  virtual const ResolvedName* Cached(const HostName& name) const = 0;

  /// The records of TYPE, which is no address type, of NAME; from a cache while their TTL lasts. kNotFound:
  /// the name does not exist; kTimeout or kUnreachable: no resolver answered, or none that can be read.
  virtual Pending ResolveRecords(const HostName& name, uint16_t type,
                                 std::function<void(Result<ResolvedRecords>)> done) = 0;
};

}  // namespace sallyport::runtime
