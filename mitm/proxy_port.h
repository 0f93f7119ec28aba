#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <variant>

#include "base/audit.h"
#include "base/host_name.h"
#include "base/loop.h"
#include "base/stream.h"
#include "base/unique_fd.h"
#include "mitm/interceptor.h"
#include "policy/budget_book.h"

namespace sallyport::mitm {

/// A request for a tunnel or for one request, by a client that was configured with a proxy.
struct ProxyQuestion {
  uint64_t flow = 0;  ///< The client's own connection to the proxy port.
  Endpoint source;
  enum class Form { kTunnel, kRequest } form = Form::kTunnel;
  Host host;  ///< Canonical.
  uint16_t port = 0;
};

/// The interceptor takes the connection over: it serves a grant, or answers a refusal.
using ProxyHttp = HttpFlow;
/// The bytes are relayed to this connected socket; RECORD is written, with numbers, at the end.
/// Only for a tunnel.
struct ProxyRaw {
  UniqueFd socket;
  AuditRecord record;
  policy::Spending spending = {};
};
using ProxyVerdict = std::variant<ProxyHttp, ProxyRaw>;

/// Who decides what a flow to the same host and port would be.
class ProxyDecider {
 public:
  virtual ~ProxyDecider() = default;
  /// Decides QUESTION and calls DONE once, never before returning, within a deadline of its own.
  /// Destroying the Pending means that the client gave up.
  virtual Pending Decide(const ProxyQuestion& question, std::function<void(ProxyVerdict)> done) = 0;
};

/// An HTTP proxy on the gateway's address, for clients that were told to use one. It reads one
/// request of each connection and hands the rest on, so that nothing is decided or checked here
/// that is not on a connection without a proxy:
///
///     CONNECT host:port        200, then the interceptor or a relay
///     METHOD http://host/…     the interceptor, for this request; then the connection ends
///     a refusal, or no HTTP    the interceptor answers, and writes the record
class ProxyPort {
 public:
  struct Services {
    Loop& loop;
    Interceptor& interceptor;
    ProxyDecider& decider;
    AuditSink& audit;
  };

  explicit ProxyPort(const Services& services);
  /// Ends every connection that was not handed on, and writes the records of tunnels.
  ~ProxyPort();

  /// Takes over GUEST, the connection FLOW from SOURCE to the port at ADDRESS. May end it at once.
  void Serve(std::unique_ptr<Stream> guest, uint64_t flow, const Endpoint& source,
             const Endpoint& address);

  /// Connections that are read, decided or relayed now; not those handed on.
  size_t connections() const { return connections_.size(); }

 private:
  class Connection;
  using Connections = std::list<std::unique_ptr<Connection>>;

  /// Writes the record of a connection that gets no answer.
  void Drop(uint64_t flow, const Endpoint& address, Reason reason, const char* detail);

  const Services services_;
  Connections connections_;
};

}  // namespace sallyport::mitm
