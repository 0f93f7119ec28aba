#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/audit.h"
#include "base/loop.h"
#include "mitm/content/memory.h"
#include "mitm/interceptor.h"
#include "mitm/limits.h"
#include "mitm/upstream_pool.h"

namespace sallyport::mitm {

class DistrustLog;

/// What all connections of one interceptor share.
struct Gate {
  Loop& loop;
  policy::Engine& engine;
  const secrets::Store& secrets;
  AuditSink& audit;
  UpstreamPool& pool;
  Dialer& dialer;  ///< For flows that need no pool.
  DistrustLog& distrust;
  std::function<void(std::string)> terminate;  ///< Ends the sandbox, later in this turn.
  policy::WaitService& waits;
  RenewSecrets renew = {};                     ///< May be none.
  SecretLifetime lifetime = {};                ///< Likewise.
  policy::BudgetBook* budgets = nullptr;       ///< None: what has a budget is refused.
  size_t streams = 0;  ///< HTTP/2 requests under way, over all connections.
  content::DecoderMemory decoder_memory{kMaxDecoderMemory};
};

/// One guest connection as its requests see it.
class FlowContext {
 public:
  FlowContext(Gate& gate, HttpFlow flow) : gate_(gate), flow_(std::move(flow)) {}

  Gate& gate() { return gate_; }
  const HttpFlow& flow() const { return flow_; }
  const policy::Facts& facts() const { return flow_.facts; }

  /// Set once TLS is up, before the first request; stays empty for plain HTTP.
  policy::TlsFacts tls;
  /// The ClientHello named another host than the flow belongs to.
  bool sni_mismatch = false;

  /// Whom the flow belongs to: its name, or its literal address.
  Host Identity() const;
  /// Why AUTHORITY, as a request spells it, is not this flow's; nothing when it is.
  std::optional<std::string> CheckAuthority(std::string_view authority);
  /// The authority to tell upstream: canonical, without a default port.
  const std::string& authority();

  /// Where requests go, unless a rule sends them elsewhere (TO).
  UpstreamTarget TargetFor(const std::optional<Authority>& to) const;
  /// TargetFor(the flow's own `to`), and its key, made once.
  const UpstreamTarget& target();
  const std::string& target_key();

  /// What a server may be offered for this flow's requests: HTTP/2 only for a guest that speaks it.
  Protocols protocols() const {
    return tls.alpn == kAlpnHttp2 ? Protocols::kAny : Protocols::kHttp1;
  }

  /// What every record of this flow says.
  AuditRecord Record() const;
  /// Completes RECORD with REASON and DETAIL, which is bounded and freed of secrets, and writes it.
  void Write(AuditRecord record, Reason reason, std::string_view detail);

 private:
  uint16_t default_port() const { return tls.encrypted ? 443 : 80; }

  Gate& gate_;
  const HttpFlow flow_;
  std::string accepted_;  // The latest spelling that CheckAuthority accepted.
  std::string authority_;
  std::optional<UpstreamTarget> target_;
  std::string target_key_;
};

}  // namespace sallyport::mitm
