#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dialer.h"
#include "base/loop.h"
#include "base/reason.h"
#include "base/stream.h"
#include "mitm/deadline.h"
#include "mitm/upstream_tls.h"

namespace sallyport::mitm::http2 {
class SharedUpstreams;
class UpstreamConnection;
}  // namespace sallyport::mitm::http2

namespace sallyport::mitm {

/// What the guest is told of ERROR, with which dialling failed.
Refusal DialRefusal(const Error& error);

/// Where a request goes, and what the server there must prove.
struct UpstreamTarget {
  Destination destination;
  bool tls = false;
  Host identity;  ///< Whom the certificate must be for; not used without TLS.
  std::string verification;  ///< VerificationOf(identity): what else it must prove, and is shown.

  /// Names everything in which two targets can differ.
  std::string Key() const;
};

/// A connection to a server, verified where it is TLS.
struct UpstreamConnection {
  std::unique_ptr<Stream> stream;  ///< Null with `shared`.
  /// One that speaks HTTP/2 and has room for an exchange, which is to be opened at once.
  http2::UpstreamConnection* shared = nullptr;
  Endpoint peer;
  std::string key;
  Protocol protocol = Protocol::kHttp1;  ///< kHttp2 only between the pool's own rooms.
  bool reused = false;
};

/// Connections to servers: opens them, and keeps idle ones for the next request to the same
/// target.
class UpstreamPool {
 public:
  struct Connected {
    std::unique_ptr<UpstreamConnection> connection;  ///< Null when refused.
    Refusal refusal;
    std::optional<IpAddress> address;  ///< What was dialled, when that much succeeded.
  };

  /// All outlive the pool, and the pool every connection under way.
  UpstreamPool(Loop& loop, Dialer& dialer, UpstreamTls& tls);
  ~UpstreamPool();

  const std::string& VerificationOf(const Host& host) const { return tls_.VerificationOf(host); }

  /// A connection whose key is KEY, that speaks one of PROTOCOLS, can be used and is still alive;
  /// or null.
  std::unique_ptr<UpstreamConnection> TakeIdle(const std::string& key, Protocols protocols);

  /// Dials TARGET and, with TLS, verifies it; nothing of a request is sent before. KEY is its key.
  /// With Protocols::kAny several at the same time share one attempt, and the connection if it
  /// speaks HTTP/2; without room on such a connection they wait for it.
  Pending Connect(const UpstreamTarget& target, std::string key, Protocols protocols,
                  std::function<void(Connected)> done);

  /// Which protocol the server with KEY spoke when it was last offered both, if that is remembered.
  std::optional<Protocol> Learnt(const std::string& key);

  /// Takes back a connection on which nothing is under way. Nobody may be listening to its stream.
  void PutBack(std::unique_ptr<UpstreamConnection> connection);

  /// For whoever reads from a connection.
  BlockPool& blocks() { return loop_.blocks(); }

  size_t idle() const { return idle_.size(); }
  /// HTTP/2 connections, idle or not.
  size_t shared() const;

 private:
  class Connecting;
  struct Idle;
  using IdleList = std::list<Idle>;

  Pending Dial(const UpstreamTarget& target, std::string key, Protocols protocols,
               std::function<void(Connected)> done);
  void Drop(IdleList::iterator entry);
  std::unique_ptr<UpstreamConnection> Extract(IdleList::iterator entry);
  void DropExpired();

  Loop& loop_;
  Dialer& dialer_;
  UpstreamTls& tls_;
  IdleList idle_;  // The longest idle first.
  std::unordered_map<std::string, std::vector<IdleList::iterator>> by_key_;
  Deadline expiry_;
  std::unique_ptr<http2::SharedUpstreams> shared_;
};

}  // namespace sallyport::mitm
