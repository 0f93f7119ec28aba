#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/approval_spec.h"
#include "base/dialer.h"
#include "base/host_name.h"
#include "base/http_message.h"
#include "base/ip_address.h"
#include "base/proxy_spec.h"
#include "base/reason.h"
#include "base/result.h"
#include "base/secret_spec.h"
#include "policy/rule_budget.h"
#include "policy/wait.h"

namespace sallyport::policy {

/// One thing wrong with, or remarkable about, a policy file.
struct Diagnostic {
  enum class Severity { kError, kWarning };
  Severity severity = Severity::kError;
  std::string file;
  int line = 0;         ///< From 1; 0 where there is none.
  std::string message;  ///< Names the nearest right word where one is near.
  /// "policy.lua:12: error: unknown field 'hots' of allow.http; did you mean 'host'?"
  std::string ToString() const;
};

/// `sandbox { … }`.
struct SandboxOptions {
  struct Mount {
    std::string source;  ///< Absolute; a relative one starts at the policy file's folder.
    std::string target;  ///< Absolute, inside.
    bool writable = false;
    /// A file that is copied in, with the placeholder of each secret in the place of its ${NAME}.
    bool is_template = false;
  };
  std::optional<std::string> image;  ///< Not used by the namespace backend; kept for it to refuse or note.
  std::optional<unsigned> cpus;
  std::optional<uint64_t> memory;  ///< Bytes.
  std::optional<std::string> workdir;
  std::optional<std::string> hostname;
  std::optional<std::string> isolation;  ///< "vm" or "namespace".
  std::vector<Mount> mounts;
  std::vector<std::pair<std::string, std::string>> env;
  std::optional<std::chrono::milliseconds> timeout;
  bool network = true;
  std::optional<ApprovalSpec> approvals;  ///< Who is asked besides `sandboxctl approvals`.
  RuleBudgetPtr budget;  ///< What all flows and requests together may spend; null for no bound.
};

/// `dns { … }`.
struct DnsOptions {
  enum class Unlisted { kExplain, kNxdomain };
  /// What the guest is told of a granted name: an address that is the name's alone, or those that
  /// the name has, which other names may have as well.
  enum class Answers { kSynthetic, kReal };
  std::vector<Endpoint> resolvers;  ///< Empty: the host's own.
  bool synthesize_v6 = false;       ///< families = "both".
  Unlisted unlisted = Unlisted::kExplain;
  Answers answers = Answers::kSynthetic;
};

/// `upstream { … }` and `upstream "HOST" { … }`: how the gate talks to servers. Paths are absolute.
struct UpstreamOptions {
  struct ClientCertificate {
    std::string cert_file;  ///< PEM, the leaf first.
    std::string key_file;   ///< PEM; a secret: read by the broker.
  };
  struct Server {
    HostPattern host;
    std::string declared_at;            ///< "policy.lua:12".
    std::vector<std::string> ca_files;  ///< Trusted for this host besides all others.
    std::vector<std::string> pins;      ///< 32 bytes each: SHA-256 of a SubjectPublicKeyInfo.
    std::optional<ClientCertificate> client_cert;
  };
  std::vector<std::string> ca_files;  ///< PEM files trusted besides the host's own roots.
  std::vector<Server> servers;        ///< The first whose host matches counts.
  std::optional<ProxySpec> proxy;     ///< What TCP goes through.
};

/// What a flow or request is, as rules and callbacks see it.
struct Facts {
  uint64_t flow = 0;
  Transport transport = Transport::kTcp;
  Endpoint source;
  /// For a named flow the checked upstream address where one is known, never the synthetic one.
  Endpoint destination;
  std::optional<HostName> name;  ///< The name that DNS attributed.
  bool web = false;  ///< Asked for as HTTP, by a URL or through a proxy: for advice only.
};

/// What is asked of a name, as callbacks see it.
struct NameQuery {
  uint16_t type = 1;            ///< A DNS record type; A where no query of the guest's asks.
  std::vector<HostName> chain;  ///< The aliases (CNAME) that it led to; empty until it is resolved.
};

/// What a host name may be used for.
struct NameVerdict {
  bool grantable = false;         ///< Some rule or callback could grant a flow to it: it may be resolved.
  bool ancestor = false;          ///< Not grantable itself, but a grantable name lies below: NODATA.
  AddressFilter filter;           ///< What its addresses may be, over all rules that could apply.
  std::vector<uint16_t> types;    ///< DNS record types granted beside A and AAAA.
  std::optional<DnsOptions::Answers> answers;  ///< Nothing: as `dns { answers }` says.
  std::vector<Endpoint> resolvers;  ///< Who is asked about it; none: as about every other name.
  bool chosen_target = false;     ///< Every use of it goes elsewhere by `to`: needs no resolution.
  RuleBudgetPtr budget;           ///< Of the first `allow.dns` for it with a `rate`: for each query.
  /// Some rule grants this name by itself. Others are granted below a wildcard (or by `any`, or a
  /// callback), and a guest can make them up.
  bool listed = false;
  bool learnt = false;  ///< Nothing of the policy speaks of it (Engine::Uncovered::kLearnt).
  /// Where it is not grantable: a rule or callback that says so (kDeniedByRule, kDeniedByHook,
  /// kPolicyError), or that there is none (kNameNotGranted).
  Refusal refusal;
  /// A callback grants it, which is to be asked again (DecideQuery) once its chain is known.
  bool by_callback = false;
};

class SuspendedFlow;
class SuspendedRequest;
class HttpGrant;  // Which requests a flow may carry; opaque outside this folder.
struct Rule;      // policy/rule.h

/// What grants what is learnt, in the place of a rule (Engine::Uncovered::kLearnt).
inline constexpr char kLearnRule[] = "--learn";

/// What is to become of a flow.
struct FlowVerdict {
  enum class Action {
    kDeny,
    kRaw,   ///< Relay the bytes.
    kHttp,  ///< Intercept: each request is decided by `http`.
    kWait,  ///< Not decided yet: see `suspended`.
  };
  Action action = Action::kDeny;
  /// For kHttp: TLS is relayed unread once its ClientHello names the flow's host (a rule with
  /// tls = "passthrough"). Plain HTTP on the flow is intercepted as ever.
  bool passthrough = false;
  bool learnt = false;    ///< Nothing of the policy decides it (Engine::Uncovered::kLearnt).
  bool has_name = false;  ///< The flow's.
  /// What grants or denies it: a rule, which keeps its policy alive, or what a callback accepted.
  /// Null where nothing speaks of it. Read by the functions below, and not before somebody wants to
  /// know.
  std::shared_ptr<const Rule> by;
  std::shared_ptr<const Refusal> said;  ///< For kDeny by a callback or the user: what is told.
  std::shared_ptr<HttpGrant> http;
  std::shared_ptr<SuspendedFlow> suspended;  ///< For kWait.

  /// What decided it ("policy.lua:12" or the rule's name); empty where nothing did.
  const std::string& rule() const;
  const AddressFilter& filter() const;  ///< What the address may be.
  /// The flow goes there instead; identity checks stay on the name.
  const std::optional<Authority>& to() const;
  /// Of the rule that grants it, for kRaw and `passthrough`; requests have their own.
  const RuleBudgetPtr& budget() const;
  /// For kDeny: what is told of the flow, which has FACTS. The text is made here.
  Refusal Explain(const Facts& facts) const;
};

/// A decision that waits. Whoever asked for it does what wait() says, and resumes it, or drops it.
/// It may outlive the Engine; it is then a denial.
class SuspendedFlow {
 public:
  virtual ~SuspendedFlow() = default;
  virtual const Wait& wait() const = 0;
  /// RESULT is of wait()'s kind. The verdict may be to wait again.
  virtual FlowVerdict Resume(WaitResult result) = 0;
};

/// TLS as the request's connection has it.
struct TlsFacts {
  bool encrypted = false;
  std::string sni;
  std::string alpn;
  std::string version;
};

/// What is to become of a request.
struct RequestVerdict {
  enum class Action { kForward, kDeny, kRespond, kWait };
  Action action = Action::kDeny;
  Refusal refusal;  ///< For kDeny.
  std::string rule;
  ResponseHead response;      ///< For kRespond.
  std::string response_body;  ///< For kRespond.
  std::optional<Authority> to;  ///< From the granting rule, where it differs from the flow's.
  /// What the address may be by the granting rule, where other rules of the flow say something else:
  /// a rule opens an address to its own requests only.
  std::optional<AddressFilter> filter;
  RuleBudgetPtr budget;         ///< Of the granting rule; for kForward.
  std::optional<std::string> body;  ///< For kForward: sent instead of the request's own.
  bool learnt = false;              ///< As of a flow.
  std::shared_ptr<SuspendedRequest> suspended;  ///< For kWait.
};

/// The same for a request.
class SuspendedRequest {
 public:
  virtual ~SuspendedRequest() = default;
  virtual const Wait& wait() const = 0;
  /// REQUEST as for DecideRequest.
  virtual RequestVerdict Resume(WaitResult result, RequestHead& request) = 0;
};

class SuspendedResponse;

/// What is to become of a server's answer.
struct ResponseVerdict {
  enum class Action { kForward, kDeny, kWait };
  Action action = Action::kDeny;
  Refusal refusal;                  ///< For kDeny.
  std::optional<std::string> body;  ///< For kForward: sent instead of the answer's own.
  std::shared_ptr<SuspendedResponse> suspended;  ///< For kWait.
};

/// The same for an answer.
class SuspendedResponse {
 public:
  virtual ~SuspendedResponse() = default;
  virtual const Wait& wait() const = 0;
  /// RESPONSE as for DecideResponse.
  virtual ResponseVerdict Resume(WaitResult result, ResponseHead& response) = 0;
};

/// What a policy says by log.info or log.warn.
struct LogLine {
  enum class Level { kInfo, kWarn };
  Level level = Level::kInfo;
  std::string message;  ///< At most kMaxLogMessage bytes of any kind: guests' words may be in it.
  std::string place;    ///< "policy.lua:12".
  uint64_t flow = 0;    ///< What the callback was called for; 0 for none.
};
inline constexpr size_t kMaxLogMessage = 512;
/// Must not use the engine.
using LogSink = std::function<void(const LogLine&)>;

/// A loaded policy. Single-threaded; does no I/O. Every callback runs under its budget, and an error
/// or a spent budget is a denial with Reason::kPolicyError.
class Engine {
 public:
  struct Source {
    std::string text;
    std::string name;    ///< For messages: "policy.lua".
    std::string folder;  ///< Absolute; where relative paths start.
  };
  struct Loaded {
    std::unique_ptr<Engine> engine;       ///< Null when there is an error.
    std::vector<Diagnostic> diagnostics;  ///< All of them at once.
  };

  /// What becomes of that which no rule and no callback decides.
  enum class Uncovered {
    kDenied,
    kLearnt,  ///< Granted and marked, where that is safe (learning.h). No policy can ask for it.
  };

  /// Runs the file's declarations, and compiles its rules. Reads no other file and no secret.
  static Loaded Load(const Source& source, Uncovered uncovered = Uncovered::kDenied);
  virtual ~Engine() = default;

  virtual const SandboxOptions& sandbox() const = 0;
  virtual const DnsOptions& dns() const = 0;
  virtual const UpstreamOptions& upstream() const = 0;
  virtual const std::vector<SecretSpec>& secrets() const = 0;

  /// Adds a declaration from outside the file (`--secret NAME@HOST`), which replaces one of the same name.
  virtual void AddSecret(SecretSpec spec) = 0;

  /// Sets what the handle of secret NAME turns into in callbacks: its placeholder, never its value.
  virtual void SetPlaceholder(std::string_view secret, std::string placeholder) = 0;

  /// Sets what takes the lines that callbacks log from now on, after those that the file logged
  /// while it was read. Without it they are dropped.
  virtual void SetLog(LogSink) {}

  /// Whether NAME may be resolved, and to what. Rules first: one that allows the name in any kind of
  /// rule, unless a deny before it leaves nothing of it. Then, for a name that no rule allows and
  /// no `deny.dns` refuses, on.connect is asked with a connection of transport "dns": it grants by
  /// `conn:match_dns(...):accept()` or `conn:accept()`. Calling match_http, match_tcp or match_udp
  /// there returns nil, but notes that a flow to the name might be granted, so a pattern whose host
  /// matches makes the name resolvable; nothing else is granted by it. conn.src and conn.dst have no
  /// address and port 0 there. Hosts of secrets and of on.request make nothing resolvable.
  virtual NameVerdict DecideName(const HostName& name) = 0;
  /// Rules first, then on.connect. What it accepts as raw bytes is a denial with kPolicyError where
  /// rules for HTTP, secrets or on.request have to see the flow's requests.
  virtual FlowVerdict DecideFlow(const Facts& facts) = 0;
  /// Rules, on.request in file order, the function given to accept, the question of an `ask` rule.
  /// Hooks may change REQUEST; it is left alone unless the verdict is kForward. One that they give another
  /// method or path is held against the rules that deny once more. kBadRequest for a
  /// path that servers may normalise to another which rules or hooks would decide differently.
  /// GRANT outlives a verdict that waits. One of a policy that this one has replaced becomes what this
  /// one grants to FACTS, or the request is denied.
  virtual RequestVerdict DecideRequest(HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                                       RequestHead& request) = 0;
  /// Whether on.response functions are to see the answers of a flow with FACTS.
  virtual bool SeesResponses(const Facts& facts) const = 0;
  /// on.response in file order, for the final answer to REQUEST, out of which secrets were taken.
  /// Functions may change RESPONSE; it is left alone unless the verdict is kForward.
  virtual ResponseVerdict DecideResponse(const Facts& facts, const TlsFacts& tls,
                                         const RequestHead& request, ResponseHead& response) = 0;

  /// Which loading of a sandbox's policy this is (LiveEngine): 1, and one more at each reload.
  virtual uint64_t generation() const { return 1; }
  /// What decides over a connection with FACTS once it is open, as a text to be compared with what
  /// another policy says; empty where it is denied, or waits for the user or in a callback. Callbacks
  /// that see its requests make the text unlike that of every other policy: what they would say now
  /// can't be known.
  virtual std::string FlowTerms(const Facts& facts);
  /// DecideName for a query of which more is known. Rules don't look at that, callbacks may.
  virtual NameVerdict DecideQuery(const HostName& name, const NameQuery& query);
};

}  // namespace sallyport::policy
