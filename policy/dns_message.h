#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/result.h"

/// DNS messages (RFC 1035, EDNS RFC 6891, extended errors RFC 8914) as the gate's resolver needs them:
/// queries of the guest and answers to them, queries of our own and their answers. No I/O; all input is
/// hostile.
namespace sallyport::policy::dns {

constexpr uint16_t kTypeA = 1;
constexpr uint16_t kTypeCname = 5;
constexpr uint16_t kTypeSoa = 6;
constexpr uint16_t kTypeAaaa = 28;
constexpr uint16_t kTypeOpt = 41;
constexpr uint16_t kTypeSvcb = 64;
constexpr uint16_t kTypeHttps = 65;

/// "A", "AAAA", "HTTPS", …; "TYPE65280" for one without a name here.
std::string TypeName(uint16_t type);
/// What TypeName writes, in any case; nothing for anything else.
std::optional<uint16_t> ParseTypeName(std::string_view text);

enum class Rcode : uint8_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
};

/// Extended errors (RFC 8914) that the gate uses.
constexpr uint16_t kEdeOther = 0;
constexpr uint16_t kEdeBlocked = 15;
constexpr uint16_t kEdeProhibited = 18;
constexpr uint16_t kEdeNoReachableAuthority = 22;

struct Query {
  uint16_t id = 0;
  uint8_t opcode = 0;  ///< 0: a standard query. Others get no answer, but one that their client takes.
  bool recursion_desired = false;
  std::string name;        ///< Dotted, lower case, without the last dot; "" is the root. Bytes that no
                           ///< host name has are written as \DDD.
  uint16_t type = 0;
  uint16_t dns_class = 1;
  bool edns = false;
  uint16_t udp_size = 512;  ///< What the client takes over UDP, at least 512.
  std::string question;     ///< The question section as it came, for the answer.
};

/// What came from the guest on port 53.
struct ParsedQuery {
  enum class Outcome {
    kQuery,
    kMalformed,  ///< Answer with `rcode`; `query.id` is right.
    kIgnore,     ///< Not even a header, or a response: no answer.
  };
  Outcome outcome = Outcome::kIgnore;
  Rcode rcode = Rcode::kFormErr;
  Query query;
};
ParsedQuery ParseQuery(std::string_view message);

struct Answer {
  Rcode rcode = Rcode::kNoError;
  std::vector<IpAddress> addresses;  ///< Those of the asked type are written; none: NODATA.
  /// The data of records of the asked type (RecordsAnswer::data); written where there are no addresses.
  std::vector<std::string> records;
  uint32_t ttl = 0;                  ///< Seconds; for a negative answer the SOA's minimum, at most 5.
  std::optional<uint16_t> extended_error;
  std::string extended_text;         ///< Only sent to clients that speak EDNS; cut to 200 bytes.
};

/// The response to QUERY. Longer than MOST: the answers are left out and TC is set.
std::string BuildResponse(const Query& query, const Answer& answer, size_t most);

/// A query of our own, with EDNS and recursion desired.
std::string BuildQuery(uint16_t id, const HostName& name, uint16_t type);

struct UpstreamAnswer {
  Rcode rcode = Rcode::kNoError;
  bool truncated = false;
  std::vector<IpAddress> addresses;  ///< Of the asked type, at the end of the CNAME chain.
  std::vector<HostName> chain;       ///< The CNAMEs on the way, in order.
  uint32_t ttl = 0;                  ///< The least along the chain; 0 where there is no answer.
};

/// Reads the response to a query for NAME and TYPE. kInvalid when it is not one, or is malformed; a
/// CNAME loop or a chain over 16 is malformed, too.
Result<UpstreamAnswer> ParseResponse(std::string_view message, const HostName& name, uint16_t type);

}  // namespace sallyport::policy::dns
