#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "base/reason.h"
#include "base/result.h"
#include "policy/dns_message.h"
#include "policy/engine.h"

/// Records of other types than addresses: which may be asked for, and what a resolver answered. No
/// I/O; all input is hostile.
namespace sallyport::policy::dns {

/// Whether a rule may grant records of TYPE: data about a name. Not A and AAAA, which come with the
/// name; not HTTPS and SVCB, which lead past the gate (ECH, HTTP/3); not what only stands in queries or
/// messages (ANY, AXFR, OPT, …: RFC 6895, section 3.1).
bool IsGrantableType(uint16_t type);

/// What a resolver says of one type of a name.
struct RecordsAnswer {
  Rcode rcode = Rcode::kNoError;
  bool truncated = false;
  /// The data of each record at the end of the CNAME chain, for CNAME itself of the name's own, as it
  /// stands in a message: names in it are whole. None: there are no such records.
  std::vector<std::string> data;
  std::vector<HostName> chain;  ///< The CNAMEs on the way, in order; of CNAME, what it names.
  uint32_t ttl = 0;             ///< Seconds; the least along the chain; 0 where there is no answer.
};

/// The data of an answer's records, in all: the whole of what a zone says of itself in TXT has room in
/// it several times over.
constexpr size_t kMaxRecordBytes = 16384;

/// Reads the response to a query for NAME and TYPE. kInvalid when it is not one, or is malformed: a
/// CNAME loop, a chain over 16, data that a type does not have, and more than kMaxRecordBytes, too.
/// Addresses are read as well, 4 or 16 bytes each.
Result<RecordsAnswer> ParseRecords(std::string_view message, const HostName& name, uint16_t type);

/// Why records of TYPE of NAME, which VERDICT grants, are not asked for: no rule grants the type, or
/// it is the reverse name (below in-addr.arpa or ip6.arpa) of no one address, or of one that VERDICT does
/// not admit, so that a guest can't read the host's own network out of its resolver. Nothing where
/// they are; and for addresses, of which only the reverse name counts.
std::optional<Refusal> RefuseRecords(const HostName& name, uint16_t type,
                                     const NameVerdict& verdict);

}  // namespace sallyport::policy::dns
