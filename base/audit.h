#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/reason.h"

namespace sallyport {

/// One decision, as the audit log tells it (docs/audit.md). Never holds a secret's value: only names.
struct AuditRecord {
  uint64_t flow = 0;           ///< Identifies the flow within its sandbox; requests of one connection share it.
  uint64_t generation = 0;     ///< Of the policy that decided (Engine::generation()); 0: the latest.
  std::string transport;       ///< "tcp", "udp", "icmp", "dns", "http", "https".
  std::string direction;       ///< "in": a client on the host reached a published port; else empty.
  std::string name;            ///< Canonical host name; empty when the flow has none.
  std::optional<IpAddress> address;  ///< The address dialled or refused, as far as known.
  uint16_t port = 0;
  std::string method;          ///< HTTP method or DNS type.
  std::string path;            ///< HTTP path without the query, bounded.
  int status = 0;              ///< HTTP status the guest was given; 0 when there is none.
  std::string rule;            ///< The rule or hook that decided ("policy.lua:12"); empty for the default.
  bool allowed = false;
  bool learnt = false;         ///< Nothing of the policy covers it; it was granted by `--learn`.
  bool by_policy = false;      ///< A callback's own `fetch`, not the guest's request.
  /// Something of it may have reached the destination, or the resolvers, even where it was refused in
  /// the end: it always has its line.
  bool sent = false;
  Reason reason = Reason::kAllowed;
  std::string detail;          ///< One sentence for people; bounded, without secrets.
  std::string how_to_allow;    ///< Of a refusal: what would allow it; may be empty.
  std::vector<std::string> secrets;  ///< Names of the secrets that were used.
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
  std::chrono::microseconds duration{0};
};

/// Takes every decision. Writing never blocks the loop and never fails silently: a sink that can't
/// keep a record turns healthy() false, and the gate denies from then on.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void Write(const AuditRecord& record) = 0;
  virtual bool healthy() const = 0;
};

}  // namespace sallyport
