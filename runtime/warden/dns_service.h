#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/audit.h"
#include "base/loop.h"
#include "base/reason.h"
#include "base/stream.h"
#include "netstack/flow_decider.h"
#include "policy/address_names.h"
#include "policy/dns_message.h"
#include "policy/engine.h"
#include "policy/name_table.h"
#include "runtime/dial/parent_proxy.h"
#include "runtime/dial/split_resolver.h"

namespace sallyport::runtime {

/// The guest's resolver: answers granted names with their synthetic address once they resolved on the
/// host (or with those of their real ones that the policy admits, where it wants that), other records of
/// theirs that a rule has in `types` with what the resolvers say, unlisted names as the policy says, and everything else with a clear no. A name that no rule can
/// use causes no query.
class DnsService : public netstack::DatagramService {
 public:
  /// ADMIT says why a granted name may not be resolved now; it is asked once a query.
  using Admit =
      std::function<std::optional<Refusal>(const HostName&, const policy::NameVerdict&)>;
  DnsService(Loop& loop, policy::Engine& engine, SplitResolver& resolver, policy::NameTable& names,
             policy::AddressNames& addresses, AuditSink& audit, const ParentProxy* parent,
             Admit admit);
  ~DnsService() override;

  void OnDatagram(const netstack::FlowInfo& flow, std::string_view payload,
                  std::function<void(std::string_view)> reply) override;

  /// DNS over TCP (RFC 7766): serves STREAM until the guest ends it or is idle.
  void Serve(const netstack::FlowInfo& flow, std::unique_ptr<Stream> stream);

 private:
  class TcpSession;
  using Reply = std::function<void(const policy::dns::Answer&)>;

  void Answer(uint64_t flow, const policy::dns::ParsedQuery& parsed, const Reply& reply);
  void AnswerGranted(uint64_t flow, const policy::dns::Query& query, const HostName& name,
                     const policy::NameVerdict& verdict, const Reply& reply);
  policy::dns::Answer Resolved(uint64_t flow, const policy::dns::Query& query, const HostName& name,
                               policy::NameVerdict verdict, const Result<ResolvedName>& resolved);
  policy::dns::Answer Granted(const policy::dns::Query& query, const HostName& name,
                              const policy::NameVerdict& verdict,
                              const Result<ResolvedName>& resolved);
  void AnswerRecords(uint64_t flow, const policy::dns::Query& query, const HostName& name,
                     const policy::NameVerdict& verdict, const Reply& reply);
  policy::dns::Answer Records(uint64_t flow, const policy::dns::Query& query, const HostName& name,
                              policy::NameVerdict verdict, const Result<ResolvedRecords>& resolved);
  policy::dns::Answer Failed(uint64_t flow, const policy::dns::Query& query,
                             const policy::NameVerdict& verdict, const Error& error);
  policy::dns::Answer Overloaded(uint64_t flow, const policy::dns::Query& query,
                                 const std::string& why);
  /// Whether a question may be asked of the resolvers now; if not, REPLY has been called.
  bool HasRoom(uint64_t flow, const policy::dns::Query& query, const Reply& reply);
  std::vector<IpAddress> RealAddresses(const policy::NameVerdict& verdict,
                                       const Result<ResolvedName>& resolved) const;
  policy::dns::Answer Synthetic(const policy::dns::Query& query, const HostName& name,
                                policy::NameTable::Kind kind);
  policy::dns::Answer Refused(uint64_t flow, const policy::dns::Query& query,
                              const Refusal& refusal);
  policy::dns::Answer Unlisted(uint64_t flow, const policy::dns::Query& query, const HostName& name,
                               const Refusal& refusal);
  /// An answer to QUERY about a name that VERDICT grants.
  void RecordAllowed(uint64_t flow, const policy::dns::Query& query,
                     const policy::NameVerdict& verdict);
  void Record(uint64_t flow, const policy::dns::Query& query, const Refusal& refusal);
  AuditRecord RecordOf(uint64_t flow, const policy::dns::Query& query) const;

  Loop& loop_;
  policy::Engine& engine_;
  SplitResolver& resolver_;
  policy::NameTable& names_;
  policy::AddressNames& addresses_;
  AuditSink& audit_;
  const ParentProxy* parent_;
  const Admit admit_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Pending> resolving_;
  std::map<uint64_t, std::unique_ptr<TcpSession>> sessions_;
};

}  // namespace sallyport::runtime
