#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/audit.h"
#include "base/dialer.h"
#include "base/loop.h"
#include "base/pending.h"
#include "base/stream.h"
#include "policy/budget_book.h"
#include "policy/engine.h"
#include "secrets/secret.h"
#include "secrets/store.h"

namespace sallyport::mitm {

/// What the guest needs to trust the gate's leaf certificates.
struct TrustAnchor {
  std::string pem;           ///< The CA's certificate.
  std::string subject_hash;  ///< Eight hex digits: OpenSSL's name for it in a hashed directory ("<hash>.0").
};

/// Certificates that the user gave by a file.
struct RootBundle {
  std::string name;  ///< The file's, for messages.
  std::string pem;
};

/// A certificate that the gate shows to servers that ask for one.
struct ClientCertificate {
  RootBundle chain;      ///< The leaf first.
  std::string key_name;  ///< The key file's, for messages.
  const secrets::Secret* key = nullptr;  ///< PEM; read while the Interceptor is made, not kept.
};

/// What servers of some hosts must prove besides, or are shown (`upstream "HOST" { … }`).
struct DeclaredServer {
  HostPattern host;
  std::vector<RootBundle> roots;  ///< Trusted for these hosts besides all others.
  std::vector<std::string> pins;  ///< Of 32 bytes each: SHA-256 of a SubjectPublicKeyInfo.
  std::optional<ClientCertificate> client;
};

/// An HTTP flow as it is handed to the interceptor.
struct HttpFlow {
  policy::Facts facts;
  policy::FlowVerdict verdict;       ///< kHttp, with its grant; or, with `refusal` set, not used.
  /// Every request on this flow gets this answer (an unlisted name in `explain` mode).
  std::optional<Refusal> refusal;
  /// Made by a callback of the policy (`fetch`): its requests are granted, and seen by no callback.
  bool by_policy = false;
};

/// A server answered 401 to a request with the secrets NAMES: gets new values where their sources give
/// any. DONE(true) when one has changed; within a bounded time, and never inside the call. Nobody hears
/// of it once the Pending is gone, but the renewal goes on.
using RenewSecrets =
    std::function<Pending(const std::vector<std::string>& names, std::function<void(bool)> done)>;

/// How long the value of the secret NAME is still good; nothing where nothing says that it ends.
using SecretLifetime =
    std::function<std::optional<std::chrono::milliseconds>(std::string_view name)>;

/// Intercepts HTTP and HTTPS flows of one sandbox: owns its CA, the upstream pool and every
/// connection given to it.
class Interceptor {
 public:
  struct Services {
    Loop& loop;
    Dialer& dialer;
    policy::Engine& engine;
    const secrets::Store& secrets;
    AuditSink& audit;
    /// A secret's on_violation = "terminate" was hit: end the sandbox.
    std::function<void(std::string why)> terminate;
    policy::WaitService& waits;
    RenewSecrets renew = {};  ///< None: values are never renewed.
    SecretLifetime lifetime = {};  ///< None: nothing is known of any.
    policy::BudgetBook* budgets = nullptr;  ///< None: what has a budget is refused.
  };
  struct Options {
    /// Gives the host's own roots, a PEM bundle. Called at the first connection to a server, because
    /// it takes milliseconds that a start without one need not spend. A bundle that can't be read
    /// trusts nobody.
    std::function<std::string()> system_roots;
    /// What is trusted besides (`upstream { ca }`, --upstream-ca); a mistake in one is an error now.
    std::vector<RootBundle> extra_roots;
    /// The first whose host matches counts.
    std::vector<DeclaredServer> servers = {};
  };

  /// Makes the sandbox's CA (P-256, in memory) and reads the roots. Errors name the bad bundle.
  static Result<std::unique_ptr<Interceptor>> Create(const Services& services, const Options& options);
  virtual ~Interceptor() = default;

  virtual const TrustAnchor& trust_anchor() const = 0;

  /// Takes over GUEST until it is closed. Never blocks, never throws the guest's bytes away unanswered.
  virtual void Serve(std::unique_ptr<Stream> guest, HttpFlow flow) = 0;

  /// Makes a request of the policy's own because of CAUSE, and calls DONE from the loop, never before
  /// returning.
  virtual Pending Fetch(const policy::FetchWait& wanted, const policy::Facts& cause,
                        std::function<void(policy::Fetched)> done) = 0;

  /// Connections open now, for tests and limits.
  virtual size_t connections() const = 0;
};

}  // namespace sallyport::mitm
